//! What a set of images depends on, as one text.

/// A text that is the same if and only if the teacher, the source, its resolved table and the seed are: hash it to name a
/// cached set of images.
///
/// Tables are written with their keys sorted, so the order in which a file lists them does not matter. The text says
/// nothing of what a data set holds: real images are not to be cached under it.
pub fn cache_identity(teacher_hash: &str, source_name: &str, table: &toml::Table, seed: u64) -> String {
    let mut text = format!("blindfold images 1\nteacher {teacher_hash}\nsource {source_name}\nseed {seed}\n");
    write_table(table, "", &mut text);
    text
}

fn write_table(table: &toml::Table, path: &str, text: &mut String) {
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort();
    for key in keys {
        let path = format!("{path}.{key:?}");
        match &table[key] {
            toml::Value::Table(inner) => write_table(inner, &path, text),
            value => text.push_str(&format!("{path} = {value}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let a = cache_identity("t", "zeroq", &table("a = 1\n[b]\nx = 1.5\ny = 'z'\n[c]\nx = 2"), 3);
        let b = cache_identity("t", "zeroq", &table("[c]\nx = 2\n[b]\ny = 'z'\nx = 1.5"), 3);
        assert_ne!(a, b);
        let b = cache_identity("t", "zeroq", &table("a = 1\n[c]\nx = 2\n[b]\ny = 'z'\nx = 1.5"), 3);
        assert_eq!(a, b);
    }

    #[test]
    fn each_part_matters() {
        let base = cache_identity("t", "zeroq", &table("a = 1"), 3);
        for other in [
            cache_identity("u", "zeroq", &table("a = 1"), 3),
            cache_identity("t", "noise", &table("a = 1"), 3),
            cache_identity("t", "zeroq", &table("a = 2"), 3),
            cache_identity("t", "zeroq", &table("a = '1'"), 3),
            cache_identity("t", "zeroq", &table("a = 1.0"), 3),
            cache_identity("t", "zeroq", &table("a = 1"), 4),
        ] {
            assert_ne!(base, other);
        }
    }
}
