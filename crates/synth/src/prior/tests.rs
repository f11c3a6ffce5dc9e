use burn::tensor::Device;

use super::*;
use crate::sample::{ends, fault as source_fault, small_network, synthesize, traced};
use crate::source::{BUILTIN_SOURCES, image_sources};

pub(super) fn prior(name: &str, table: &str) -> Box<dyn ImagePrior> {
    image_priors().unwrap().build(name, table.parse().unwrap()).unwrap()
}

/// The fault of a member's table.
pub(super) fn fault(name: &str, table: &str) -> String {
    image_priors().unwrap().build(name, table.parse().unwrap()).err().unwrap().to_string()
}

/// The value of a prior that looks at images alone.
pub(super) fn of_images(prior: &dyn ImagePrior, images: Tensor<4>) -> Tensor<1> {
    let [batch, ..] = images.dims();
    let none = Tensor::<2>::zeros([batch, 1], &Device::flex());
    prior.value(&PriorView { images, logits: none.clone(), features: none, labels: &[], margin: None })
}

/// The sources that take a list of priors.
fn takers() -> Vec<&'static str> {
    let takes = |name: &&str| image_sources().unwrap().build(name, "prior = []".parse().unwrap()).is_ok();
    BUILTIN_SOURCES.iter().map(|entry| entry.name).filter(takes).collect()
}

fn small(name: &str) -> String {
    let own = match name {
        "dsg" => "noise_images = 4\n",
        "mct" => "granularity = 'batch'\n",
        "texq" | "synq" => "centres = { iterations = 1 }\n",
        _ => "",
    };
    format!("count = 4\nbatch = 2\niterations = 3\n{own}")
}

#[test]
fn every_source_of_the_shared_loop_takes_priors() {
    let expected = ["deepinversion", "knowledge-within", "dsg", "mixmix", "mct", "intraq", "hast", "texq", "synq"];
    assert_eq!(takers(), expected);
}

#[test]
fn a_prior_of_no_weight_is_reported_and_changes_nothing() {
    let network = small_network(1);
    for name in takers() {
        let table = small(name);
        let plain = synthesize(name, &table, &network, 3).unwrap();
        assert_eq!(synthesize(name, &format!("{table}prior = []"), &network, 3).unwrap(), plain, "{name}");
        let listed = format!(
            "{table}prior = [{{ kind = 'l2', weight = 0.0 }}, {{ kind = 'l2', weight = 0.0 }}, \
             {{ kind = 'total-variation', norm = 'l1', weight = 0.0 }}]"
        );
        let (images, trace) = traced(name, &listed, &network, 3);
        assert_eq!(images, plain, "{name}");
        let last = trace.last().unwrap();
        for value in ["prior_l2", "prior_l2_2", "prior_total_variation"] {
            assert!(last[value] > 0.0, "{name}: {value}");
        }
        assert_eq!(last["prior_l2"], last["prior_l2_2"], "{name}");
    }
}

#[test]
fn a_prior_with_a_weight_moves_the_images_of_every_source() {
    let network = small_network(1);
    for name in takers() {
        let table = small(name);
        let plain = synthesize(name, &table, &network, 3).unwrap();
        let moved = synthesize(name, &format!("{table}prior = [{{ kind = 'l2', weight = 9.0 }}]"), &network, 3);
        assert_ne!(moved.unwrap().pixels, plain.pixels, "{name}");
    }
}

#[test]
fn a_listed_prior_does_what_the_sources_own_key_does() {
    let network = small_network(1);
    let table = "count = 4\nbatch = 4\niterations = 5\ntv_l2_weight = ";
    let own = traced("deepinversion", &format!("{table}0.5"), &network, 3).1;
    let listed = format!("{table}0.0\nprior = [{{ kind = 'total-variation', weight = 0.5 }}]");
    let listed = traced("deepinversion", &listed, &network, 3).1;
    for (own, listed) in own.iter().zip(&listed) {
        assert!((own["tv_l2"] - listed["prior_total_variation"]).abs() <= 1e-3 * own["tv_l2"]);
        assert!((own["loss"] - listed["loss"]).abs() <= 1e-3 * own["loss"].abs());
    }
}

#[test]
fn centres_are_those_of_the_batches_before() {
    let table = "count = 12\nbatch = 7\niterations = 30\nlabels = 'balanced'\n\
                 prior = [{ kind = 'cosine-margin', lambda_l = 1.0, lambda_u = 2.0 }]";
    let trace = traced("hast", table, &small_network(1), 3).1;
    // Seven images of the twelve, two a class, are of at least four classes: the five others cannot all be of the rest.
    let (first, second) = trace.split_at(30);
    assert!(first.iter().all(|entry| entry["prior_cosine_margin"] == 0.0));
    assert!(second.iter().any(|entry| entry["prior_cosine_margin"] > 0.0));
}

#[test]
fn the_length_of_images_falls_where_it_is_all_that_counts() {
    let table = "count = 4\nbatch = 4\niterations = 30\nbn_weight = 0.0\nbeta = 0.0\nprior = [{ kind = 'l2' }]\n\
                 optimizer = { lr = 0.05 }";
    let (first, last) = ends(&traced("hast", table, &small_network(1), 3).1, "prior_l2", 1);
    assert!(last < 0.5 * first, "{first} to {last}");
}

#[test]
fn an_empty_list_is_not_in_the_defaults() {
    for name in takers() {
        let defaults = (image_sources().unwrap().get(name).unwrap().defaults)();
        assert!(!defaults.contains_key("prior"), "{name}");
    }
}

#[test]
fn faults_name_their_place() {
    for (table, start) in [
        ("prior = [{ kind = 'l2', weight = -1.0 }]", "`hast.prior[0].weight`: -1 is not valid"),
        ("prior = [{ kind = 'l2' }, { kind = 'smoothness', kernel = 2 }]", "`hast.prior[1].smoothness.kernel`: 2"),
        ("prior = [{ kind = 'l2x' }]", "there is no image prior `l2x` (did you mean `l2`?)"),
    ] {
        let error = source_fault("hast", table);
        assert!(error.starts_with(start), "{error}");
    }
    assert!(source_fault("hast", "prior = [{ kind = 'l2', norm = 'l1' }]").contains("unknown field `norm`"));
    let error = source_fault("dsg", "prior = [{ kind = 'cosine-margin' }]");
    assert!(error.starts_with("`dsg.prior[0].kind`: `cosine-margin` is not valid"), "{error}");
}
