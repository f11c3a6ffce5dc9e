use super::*;
use crate::generator::sample::colour_network;
use crate::progress::Progress;
use crate::sample::{normalization, synthesize};
use crate::source::image_sources;

const METHOD: &str = "kind = 'gdfq', generator = { latent = 8, channels = 8, optimizer = { lr = 1e-2 } }";

fn error(table: &str) -> String {
    image_sources().unwrap().build("generator", table.parse().unwrap()).err().unwrap().to_string()
}

#[test]
fn the_images_are_of_their_labels() {
    let network = colour_network();
    let table = format!("count = 50\nbatch = 32\niterations = 60\nmethod = {{ {METHOD} }}");
    let images = synthesize("generator", &table, &network, 3).unwrap();
    assert_eq!((images.len(), images.shape, images.origin), (50, [3, 8, 8], Origin::Synthetic));
    let labels = images.labels.clone().unwrap();
    let answers = network.forward(images.tensor(0..50, &network.device())).argmax(1).into_data();
    let right = answers.iter::<i64>().zip(&labels).filter(|(answer, label)| *answer == i64::from(**label)).count();
    // Chance gives a third of 50.
    assert!(right > 30, "{right} of 50");
}

#[test]
fn the_seed_alone_decides() {
    let network = colour_network();
    let table = format!("count = 5\nbatch = 4\niterations = 2\nmethod = {{ {METHOD} }}");
    let images = synthesize("generator", &table, &network, 3).unwrap();
    assert_eq!(synthesize("generator", &table, &network, 3).unwrap(), images);
    assert_ne!(synthesize("generator", &table, &network, 4).unwrap(), images);
}

#[test]
fn images_of_several_classes_have_no_label() {
    let network = colour_network();
    let labels = |probability: f64| {
        let own = format!("kind = 'qimera', probability = {probability:?}, generator = {{ channels = 8 }}");
        let table = format!("count = 6\nbatch = 4\niterations = 1\nmethod = {{ {own} }}");
        synthesize("generator", &table, &network, 3).unwrap().labels
    };
    assert_eq!(labels(1.0), None);
    assert_eq!(labels(0.0).map(|labels| labels.len()), Some(6));
}

struct Impatient(usize);

impl Progress for Impatient {
    fn step(&mut self, step: Step<'_>) {
        let names: Vec<&str> = step.scalars.iter().map(|(name, _)| *name).collect();
        assert_eq!((names, step.total), (vec!["loss", "cross_entropy", "batch_norm"], 9));
        self.0 = step.iteration;
    }

    fn cancelled(&self) -> bool {
        self.0 == 3
    }
}

#[test]
fn it_stops_when_it_is_told_to() {
    let table = format!("count = 4\nbatch = 4\niterations = 9\nmethod = {{ {METHOD} }}");
    let source = image_sources().unwrap().build("generator", table.parse().unwrap()).unwrap();
    let mut progress = Impatient(0);
    let result = source.synthesize(Request {
        teacher: &colour_network(),
        normalization: &normalization(),
        seed: 1,
        real: None,
        progress: &mut progress,
    });
    assert_eq!((result, progress.0), (Err(SynthError::Cancelled), 3));
}

#[test]
fn faults_name_their_key() {
    assert!(error("count = 0").starts_with("`generator.count`: 0"));
    assert!(error("batch = 1").starts_with("`generator.batch`: 1"));
    assert!(error("method = { kind = 'gdfqq' }").contains("did you mean `gdfq`?"));
    assert!(
        error("method = { kind = 'gdfq', bns_weight = -1.0 }").starts_with("`generator.method.gdfq.bns_weight`: -1")
    );
    assert!(error("method = { bns_weight = 1.0 }").contains("kind"));
    for kind in ["zaq", "choi-akd", "adasg"] {
        let error = error(&format!("method = {{ kind = '{kind}' }}"));
        assert!(
            error.starts_with(&format!("`generator.method.kind`: `{kind}`, which trains against a student")),
            "{error}"
        );
    }
}
