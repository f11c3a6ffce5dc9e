//! What can be wrong with a configuration beyond its own form: looked at before a run folder is made.

use anyhow::Result;
use blindfold_quant::Plan;
use blindfold_synth::SynthError;
use blindfold_zoo::{ConfigError, Network};

use super::context::{Context, data_of};
use super::quantize::{fitting_steps, rewritten};
use crate::config::{RunConfig, SourceTable};
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

/// Whether the images can be made and trained on, as far as that can be said before.
pub(super) fn check_images(context: &Context, config: &RunConfig, network: &Network) -> Result<()> {
    let build = |source: &SourceTable, place: &str| {
        context.registry.source(&source.source, source.table.clone()).map_err(|error| error.within(place))
    };
    let source = build(&config.images, "images")?;
    if source.needs_real() {
        let real = context.real_images(&data_of(source.as_ref(), &config.data)?)?;
        if real.shape != network.input_shape() {
            let what = format!("the data set `{}`", real.name);
            return Err(SynthError::Shape { what, found: real.shape, expected: network.input_shape() }.into());
        }
    }
    if build(&config.evaluation.held_out, "evaluation.held_out")?.needs_real() {
        let message = "`evaluation.held_out.source`: held-out images are synthetic: name a source that needs no data";
        return Err(crate::Usage(message.to_owned()).into());
    }
    if let Some(distill) = &config.distill {
        distill.validate(source.count(), network.input_shape()).map_err(|error| error.within("distill"))?;
        for loss in &distill.loss {
            let built = context.registry.losses.build(&loss.kind, loss.options.clone());
            built.map_err(|error| error.within("distill.loss"))?;
        }
        let places = [
            ("distill.generator", &distill.generator),
            ("distill.range_warmup.generator", &distill.range_warmup.generator),
        ];
        for (place, generator) in places {
            let Some(generator) = generator else { continue };
            let built = context.registry.generators.build(&generator.kind, generator.options.clone());
            built.map_err(|error| error.within(place))?;
        }
        for augmentation in &distill.augmentation {
            let built = context.registry.augmentations.build(&augmentation.kind, augmentation.options.clone());
            let built = built.map_err(|error| error.within("distill.augmentation"))?;
            let checked = built.check(network.input_shape());
            checked.map_err(|error| error.within(&augmentation.kind).within("distill.augmentation"))?;
        }
    }
    Ok(())
}

/// Whether the network can be rewritten, planned and fitted as the configuration says.
pub(super) fn check_quantization(context: &Context, config: &RunConfig, network: &Network) -> Result<Plan> {
    fitting_steps(context, config)?;
    if let Some(table) = &config.allocate {
        table.validate().map_err(|error| error.within("allocate"))?;
        let choice = &table.sensitivity;
        let built = context.registry.quant.sensitivities.build(&choice.kind, choice.options.clone());
        built.map_err(|error| error.within("allocate.sensitivity"))?;
    }
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
