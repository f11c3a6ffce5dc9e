//! The part of JSON schema (draft 2020-12) that the program's schema uses; anything else in it is a failed test. A
//! second opinion is `scripts/check_schema.py`.

use serde_json::Value as Json;

/// What is wrong with a value; `root` holds the definitions that `node` refers to.
pub fn faults(root: &Json, node: &Json, value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    check(root, node, value, "", &mut found);
    found
}

fn check(root: &Json, node: &Json, value: &Json, path: &str, found: &mut Vec<String>) {
    let Json::Object(rules) = node else {
        assert_eq!(node, &Json::Bool(false), "{path}: a schema is a table or a boolean");
        found.push(format!("{path}: there is no such key"));
        return;
    };
    let is_valid = |node: &Json| faults(root, node, value).is_empty();
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "x-taplo" | "then" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).unwrap(), value, path, found);
            }
            "allOf" => rule.as_array().unwrap().iter().for_each(|node| check(root, node, value, path, found)),
            "anyOf" => {
                if !rule.as_array().unwrap().iter().any(is_valid) {
                    found.push(format!("{path}: {value} fits none of {rule}"));
                }
            }
            "if" => {
                if is_valid(rule) {
                    check(root, &rules["then"], value, path, found);
                }
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is_of_type(value, name.as_str().unwrap())) {
                    found.push(format!("{path}: {value} is not of type {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    found.push(format!("{path}: {value} is none of {rule}"));
                }
            }
            "const" => {
                if rule != value {
                    found.push(format!("{path}: {value} is not {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) {
                    found.push(format!("{path}: {value} is below {rule}"));
                }
            }
            "items" | "minItems" | "maxItems" => of_list(root, (keyword, rule), value, path, found),
            _ => of_table(root, rules, (keyword, rule), value, path, found),
        }
    }
}

fn is_of_type(value: &Json, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => panic!("the schema has the type `{name}`, which this check does not know"),
    }
}

fn of_list(root: &Json, (keyword, rule): (&str, &Json), value: &Json, path: &str, found: &mut Vec<String>) {
    let Json::Array(items) = value else { return };
    if keyword == "items" {
        for (index, item) in items.iter().enumerate() {
            check(root, rule, item, &format!("{path}[{index}]"), found);
        }
        return;
    }
    let count = usize::try_from(rule.as_u64().unwrap()).unwrap();
    if (keyword == "minItems" && items.len() < count) || (keyword == "maxItems" && items.len() > count) {
        found.push(format!("{path}: {} elements, {keyword} is {count}", items.len()));
    }
}

type Rules = serde_json::Map<String, Json>;

fn of_table(
    root: &Json,
    rules: &Rules,
    (keyword, rule): (&str, &Json),
    value: &Json,
    path: &str,
    found: &mut Vec<String>,
) {
    let Json::Object(keys) = value else { return };
    let within = |key: &str| format!("{path}.{key}");
    match keyword {
        "properties" => {
            for (key, node) in rule.as_object().unwrap() {
                if let Some(own) = keys.get(key) {
                    check(root, node, own, &within(key), found);
                }
            }
        }
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Json::as_object);
            for (key, own) in keys.iter().filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key))) {
                check(root, rule, own, &within(key), found);
            }
        }
        "propertyNames" => {
            for key in keys.keys() {
                check(root, rule, &Json::String(key.clone()), &within(key), found);
            }
        }
        "required" => {
            for key in rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap()) {
                if !keys.contains_key(key) {
                    found.push(format!("{}: it is missing", within(key)));
                }
            }
        }
        "maxProperties" => {
            if keys.len() as u64 > rule.as_u64().unwrap() {
                found.push(format!("{path}: {} keys, at most {rule}", keys.len()));
            }
        }
        _ => panic!("the schema uses `{keyword}`, which this check does not know"),
    }
}
