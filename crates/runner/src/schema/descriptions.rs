//! What the keys that every file has are for, as an editor shows it.

use serde_json::Value as Json;

/// Keys with what they mean; plugins' own keys are described by their members' names and defaults.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("experiment", "What is run: methods and seeds."),
    ("experiment.name", "The file's name without ending."),
    ("experiment.summary", "One line."),
    ("experiment.base", "A file that is merged below this one, relative to it."),
    ("experiment.methods", "Names of method files."),
    ("experiment.seeds", "One run a method and seed."),
    ("experiment.sinks", "Where records go; jsonl cannot be left out."),
    ("method", "Which way through the pipeline: what it is called and where it comes from."),
    ("method.source", "Authors, title, venue, year."),
    ("method.differences", "One line for everything that is done otherwise than in the source."),
    ("teacher", "The network that is quantized."),
    ("teacher.name", "A name of the catalogue (blindfold teacher list), or one to give to `file`."),
    ("teacher.file", "A weight file of your own: .th .pt .pth .safetensors; with architecture and normalization."),
    ("teacher.hash", "SHA-256 of its parameters, checked where it is given."),
    ("data", "Where accuracy is measured."),
    ("data.limit", "At most so many test images, the first ones."),
    ("images", "The images that ranges and students are fitted on; without a source: keys for that of the method."),
    ("quant", "Number formats, ranges, sites: docs/configuration.md."),
    ("quant.protocol", "Whose conventions: docs/protocols.md. The two never share a table."),
    ("quant.weight_bits", "Bits of weights; 1 and 16 for the number formats that have them."),
    ("quant.activation_bits", "Bits of activations."),
    ("quant.first_last_bits", "brecq only: bits at the first and the last layer."),
    ("quant.passes", "Rewrites of the network before it is quantized, in this order."),
    ("quant.weight", "Format, quantizer, range and granularity of weights; absent keys: the protocol's."),
    ("quant.activation", "The same of activations."),
    ("quant.layer", "Exceptions by name, later ones over earlier ones."),
    ("allocate", "Bits by layer (mixed precision); absent: those of quant."),
    ("fit", "Fitting steps between quantization and training, in order; a step's own keys in a table of its name."),
    ("fit.images", "Steps look at so many of the images, the first ones; absent: all."),
    ("distill", "Training of the student; absent: none."),
    ("distill.epochs", "Epochs of training, the range warm-up not counted."),
    ("distill.iterations_per_epoch", "Steps an epoch; absent: one pass through the images."),
    ("distill.batch", "Images a step."),
    ("distill.lr", "The learning rate that the schedule's factor multiplies."),
    ("distill.log_every", "Steps between counts of changed integer weights; 0: never."),
    ("distill.loss", "The losses, each with its weight and its own options."),
    ("distill.loss.weight", "What its value is multiplied by."),
    ("evaluation", "How accuracy is measured."),
    ("evaluation.batch", "Images a forward pass."),
    ("evaluation.every", "Epochs between evaluations; the last epoch always has one."),
    ("evaluation.held_out", "Synthetic images for agreement and logit error, the same for all methods."),
    ("fast", "What --fast merges over all else; images by source, fit by step."),
    ("methods", "Exceptions of this experiment for single methods."),
    ("published", "What papers lost, for the column `published drop`."),
    ("budget", "A method's two budgets: what share of the paper's the file has, and the paper's own sizes (--full)."),
    ("study", "Methods x bits x protocols x seeds: docs/configuration.md."),
    ("study.slurm", "What a task asks of a cluster; absent keys: Slurm's own. docs/slurm.md."),
];

/// Writes the descriptions into a schema; the keys that it does not have.
pub(super) fn describe(schema: &mut Json) -> Vec<&'static str> {
    let mut unknown = Vec::new();
    for (path, text) in DESCRIPTIONS {
        let place = pointer(schema, path).unwrap_or_else(|| "/no such place".to_owned());
        match schema.pointer_mut(&place) {
            Some(Json::Object(keys)) => {
                keys.insert("description".to_owned(), (*text).into());
            }
            _ => unknown.push(*path),
        }
    }
    unknown
}

/// Where the schema of a key stands; a list has the keys of its elements.
fn pointer(schema: &Json, path: &str) -> Option<String> {
    let mut at = String::new();
    for part in path.split('.') {
        loop {
            let node = schema.pointer(&at)?;
            if let Some(target) = node.get("$ref").and_then(Json::as_str) {
                at = target.strip_prefix('#')?.to_owned();
            } else if node.get("items").is_some() {
                at += "/items";
            } else {
                break;
            }
        }
        at += &format!("/properties/{part}");
        schema.pointer(&at)?;
    }
    Some(at)
}
