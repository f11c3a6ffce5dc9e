//! What can be wrong with a configuration beyond its own form: looked at before a run folder is made.

use anyhow::Result;
use blindfold_quant::Plan;
use blindfold_synth::{ImageSource, SynthError};
use blindfold_zoo::{ConfigError, Network};

use super::context::{Context, data_of};
use super::quantize::{fitting_steps, rewritten};
use crate::Registry;
use crate::config::{RunConfig, SourceTable};
use crate::record::build_sinks;
use crate::teachers::Teacher;

/// The configuration with the teacher's content and the device in it: another of either is another run.
pub(super) fn pinned(config: &RunConfig, teacher: &Teacher, context: &Context) -> Result<RunConfig> {
    let mut config = config.clone();
    if let Some(hash) = config.teacher.hash.replace(teacher.hash.clone()).filter(|hash| *hash != teacher.hash) {
        let message = format!(
            "`teacher.hash`: the configuration was made with a teacher {} of content {hash}, here it has {}: take the same weights, or leave the key out",
            teacher.name, teacher.hash
        );
        return Err(crate::Usage(message).into());
    }
    config.device = Some(context.device.name.clone());
    Ok(config)
}

/// Whether there are the plugins that the configuration names, with the keys that it sets for them: all that can be said
/// without a teacher.
///
/// # Errors
/// Unknown names with near matches, unknown keys and wrong values.
pub fn check_plugins(registry: &Registry, config: &RunConfig) -> Result<()> {
    build_sinks(&registry.sinks, &config.experiment.sinks).map_err(|error| error.within("experiment"))?;
    registry.data_sets.build(&config.data.name, config.data.table.clone()).map_err(|error| error.within("data"))?;
    source_of(registry, &config.images, "images")?;
    if source_of(registry, &config.evaluation.held_out, "evaluation.held_out")?.needs_real() {
        let message = "`evaluation.held_out.source`: held-out images are synthetic: name a source that needs no data";
        return Err(crate::Usage(message.to_owned()).into());
    }
    config.quant.check_plugins(&registry.quant).map_err(|error| error.within("quant"))?;
    for choice in &config.quant.passes {
        let built = registry.quant.passes.build(&choice.kind, choice.options.clone());
        built.map_err(|error| error.within("quant.passes"))?;
    }
    fitting_steps(registry, config)?;
    if let Some(table) = &config.allocate {
        table.validate().map_err(|error| error.within("allocate"))?;
        let choice = &table.sensitivity;
        let built = registry.quant.sensitivities.build(&choice.kind, choice.options.clone());
        built.map_err(|error| error.within("allocate.sensitivity"))?;
    }
    if let Some(distill) = &config.distill {
        for loss in &distill.loss {
            let built = registry.losses.build(&loss.kind, loss.options.clone());
            built.map_err(|error| error.within("distill.loss"))?;
        }
        let places = [
            ("distill.generator", &distill.generator),
            ("distill.range_warmup.generator", &distill.range_warmup.generator),
        ];
        for (place, generator) in places {
            let Some(generator) = generator else { continue };
            let built = registry.generators.build(&generator.kind, generator.options.clone());
            built.map_err(|error| error.within(place))?;
        }
        for augmentation in &distill.augmentation {
            let built = registry.augmentations.build(&augmentation.kind, augmentation.options.clone());
            built.map_err(|error| error.within("distill.augmentation"))?;
        }
    }
    Ok(())
}

fn source_of(registry: &Registry, source: &SourceTable, place: &str) -> Result<Box<dyn ImageSource>, ConfigError> {
    registry.source(&source.source, source.table.clone()).map_err(|error| error.within(place))
}

/// Whether the images can be made and trained on, as far as that can be said before.
pub(super) fn check_images(context: &Context, config: &RunConfig, network: &Network) -> Result<()> {
    let source = source_of(&context.registry, &config.images, "images")?;
    if source.needs_real() {
        let real = context.real_images(&data_of(source.as_ref(), &config.data)?)?;
        if real.shape != network.input_shape() {
            let what = format!("the data set `{}`", real.name);
            return Err(SynthError::Shape { what, found: real.shape, expected: network.input_shape() }.into());
        }
    }
    if let Some(distill) = &config.distill {
        distill.validate(source.count(), network.input_shape()).map_err(|error| error.within("distill"))?;
        for augmentation in &distill.augmentation {
            let built = context.registry.augmentations.build(&augmentation.kind, augmentation.options.clone());
            let built = built.map_err(|error| error.within("distill.augmentation"))?;
            let checked = built.check(network.input_shape());
            checked.map_err(|error| error.within(&augmentation.kind).within("distill.augmentation"))?;
        }
    }
    Ok(())
}

/// Whether the network can be rewritten and planned as the configuration says.
pub(super) fn check_quantization(context: &Context, config: &RunConfig, network: &Network) -> Result<Plan> {
    let (_, plan) = rewritten(context, &config.quant, network)?;
    if plan.has_learned() && config.distill.is_none() {
        let fix = "it is trained with the student: add a [distill] table, or leave `learned` out";
        return Err(ConfigError::invalid("quant", "a learned quantizer without training", fix).into());
    }
    Ok(plan)
}

pub(super) fn check_fit(config: &RunConfig, network: &Network, images: &blindfold_synth::RealImages) -> Result<()> {
    if images.shape != network.input_shape() || images.classes != network.classes() {
        return Err(crate::Usage(format!(
            "the data set {} has images of {:?} in {} classes, the teacher {} takes {:?} and knows {} classes: name the data set that the teacher was trained on",
            config.data.name,
            images.shape,
            images.classes,
            config.teacher.name,
            network.input_shape(),
            network.classes()
        ))
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Project;
    use crate::config::{Experiment, Wishes, method_names};

    #[test]
    fn plugins_take_both_budgets_of_every_method() {
        let project = Project::find(None).unwrap();
        let registry = Registry::builtin().unwrap();
        let experiment = Experiment::read(&project, "shapes10-w4a8").unwrap();
        for method in method_names(&project).unwrap() {
            for full in [false, true] {
                let wishes = Wishes { full, ..Wishes::default() };
                let config = experiment.resolve(&project, &method, 1, wishes).unwrap();
                check_plugins(&registry, &config)
                    .unwrap_or_else(|error| panic!("{method}, full budget {full}: {error:#}"));
            }
        }
    }

    #[test]
    fn tables_of_plugins_are_checked_without_a_teacher() {
        let project = Project::find(None).unwrap();
        let registry = Registry::builtin().unwrap();
        let experiment = Experiment::read(&project, "shapes10-w4a8").unwrap();
        let check = |set: &str| {
            let sets = [set.to_owned()];
            let wishes = Wishes { sets: &sets, ..Wishes::default() };
            check_plugins(&registry, &experiment.resolve(&project, "zeroq-kd", 1, wishes).unwrap())
        };
        check("images.iterations=4").unwrap();
        check("fit.steps=['df-mpc', 'squant', 'weight-correction', 'bias-correction']").unwrap();
        for (set, words) in [
            ("images.iteratons=4", "iterations"),
            ("evaluation.held_out={ source = 'real' }", "held-out images are synthetic"),
            ("experiment.sinks=['csv']", "add \"jsonl\""),
            ("fit.steps=['squat']", "squant"),
            ("fit.steps=['weight-correction', 'brecq']", "`weight-correction` has replaced"),
            ("fit.steps=['weight-correction', 'admm']", "name it earlier"),
            ("fit.steps=['squant', 'df-mpc']", "name it earlier"),
            ("fit.steps=['adaround', 'seq-mse']", "name it earlier"),
            ("fit.steps=['squant', 'adaround']", "name one of the two"),
            ("quant.passes=['equaliz']", "there is no pass"),
            ("quant.weight.range='percentil'", "did you mean `percentile`"),
            ("quant.activation.range={ kind = 'mse', q = 2 }", "unknown field `q`"),
            ("quant.weight.quantizer='zeroq'", "did you mean `zeroq-affine`"),
            ("quant.weight.format='k-mean'", "did you mean `k-means`"),
            ("quant.weight.learned='lsc'", "did you mean `lsq`"),
            ("quant.layer=[{ match = 'conv1', weight = { range = 'mze' } }]", "did you mean `mse`"),
            ("distill.loss=[{ kind = 'kll' }]", "did you mean `kl`"),
            ("distill.augmentation=[{ kind = 'mixpu' }]", "did you mean `mixup`"),
        ] {
            let text = check(set).unwrap_err().to_string();
            assert!(text.contains(words), "{set}: {text}");
        }
    }
}
