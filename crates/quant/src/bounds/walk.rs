//! Both kinds of bounds through a whole network.

use super::interval::{MapNorms, Maps, Triple};
use super::stage::{Stage, Step};
use crate::error::QuantError;

/// Bounds of the student's output less the teacher's at one node, element by element.
#[derive(Debug)]
pub(super) struct NodeBounds {
    /// The interval alone: the largest absolute value of each element.
    pub(super) interval: Vec<f64>,
    /// Lower bounds, of interval and ball together.
    pub(super) low: Vec<f64>,
    /// Upper bounds, of interval and ball together.
    pub(super) high: Vec<f64>,
}

/// What is known of a node's output: by intervals alone, and with balls, which is never wider.
struct Known {
    plain: Triple,
    tight: Triple,
}

/// Bounds at every node, in order, for all images between `low` and `high`.
///
/// # Errors
/// With the node's name, [`QuantError::Groups`] for a codec of another shape.
pub(super) fn walk(stages: &[Stage<'_>], low: &[f64], high: &[f64]) -> Result<Vec<NodeBounds>, QuantError> {
    let last_use = last_use(stages);
    let mut known: Vec<Option<Known>> = Vec::with_capacity(stages.len());
    let mut bounds = Vec::with_capacity(stages.len());
    for (id, stage) in stages.iter().enumerate() {
        let inputs: Vec<&Known> = stage.inputs.iter().filter_map(|&input| known[input].as_ref()).collect();
        let mut output = match &stage.step {
            Step::Input => {
                let plain = Triple::input(stage.shape, low.to_vec(), high.to_vec());
                Known { tight: plain.clone().with_balls(), plain }
            }
            step => {
                let mut output = after(step, &inputs);
                if let Some((maps, before)) = merged(stages, id) {
                    let input = known[before].as_ref().expect("last_use keeps what a batch norm's convolution read");
                    output.tight = output.tight.meet(&input.tight.through(&maps, Some(&maps.norms())));
                }
                output
            }
        };
        if let Some(codec) = stage.codec {
            let quantized = |triple: Triple| triple.quantized(codec).map_err(|error| error.at(stage.name));
            output = Known { plain: quantized(output.plain)?, tight: quantized(output.tight)? };
        }
        output.tight = output.tight.meet(&output.plain);
        let difference = &output.tight.difference;
        bounds.push(NodeBounds {
            interval: output.plain.difference.magnitudes(),
            low: difference.low.clone(),
            high: difference.high.clone(),
        });
        known.push(Some(output));
        for (earlier, _) in last_use.iter().enumerate().filter(|(_, last)| **last == id) {
            known[earlier] = None;
        }
    }
    Ok(bounds)
}

/// After a step that reads other nodes.
fn after(step: &Step, inputs: &[&Known]) -> Known {
    let plain: Vec<&Triple> = inputs.iter().map(|input| &input.plain).collect();
    let tight: Vec<&Triple> = inputs.iter().map(|input| &input.tight).collect();
    let both = |each: &dyn Fn(&[&Triple]) -> Triple| Known { plain: each(&plain), tight: each(&tight) };
    match step {
        Step::Linear { maps, flat } => {
            let through = |triple: &Triple, norms: Option<&MapNorms>| match flat {
                true => triple.clone().flattened().through(maps, norms),
                false => triple.through(maps, norms),
            };
            Known { plain: through(plain[0], None), tight: through(tight[0], Some(&maps.norms())) }
        }
        Step::Clamp(low, high) => both(&|inputs| inputs[0].clamped(*low, *high)),
        Step::Add => both(&Triple::sum),
        Step::Concat => both(&Triple::concat),
        Step::MaxPool([kernel, stride, padding]) => both(&|inputs| inputs[0].max_pooled(*kernel, *stride, *padding)),
        Step::Flatten => both(&|inputs| inputs[0].clone().flattened()),
        Step::Select(indices) => both(&|inputs| inputs[0].clone().each(|set| set.selected(indices))),
        Step::Pad([stride, before, after]) => {
            both(&|inputs| inputs[0].clone().each(|set| set.padded(*stride, *before, *after)))
        }
        Step::Input => both(&|inputs| inputs[0].clone()),
    }
}

/// A batch norm and the convolution before it as one map, and the node that the convolution reads. The norm of the two
/// together is below the product of their norms where a batch norm evens out what the convolution does to its channels.
fn merged(stages: &[Stage<'_>], id: usize) -> Option<(Maps, usize)> {
    let (scale, before) = convolution_before(stages, id)?;
    let Step::Linear { maps, .. } = &stages[before].step else { return None };
    Some((maps.then(scale), stages[before].inputs[0]))
}

/// The scale of a batch norm and the convolution that it reads, if that one's output is not quantized.
fn convolution_before<'s>(stages: &'s [Stage<'_>], id: usize) -> Option<(&'s Maps, usize)> {
    let stage = &stages[id];
    stage.batch_norm.as_ref()?;
    let before = *stage.inputs.first()?;
    match (&stage.step, &stages[before].step) {
        (Step::Linear { maps: scale, .. }, Step::Linear { flat: false, .. })
            if stages[before].kind == "conv2d" && stages[before].codec.is_none() =>
        {
            Some((&**scale, before))
        }
        _ => None,
    }
}

/// For each node the last one that looks at its output; itself where none does.
fn last_use(stages: &[Stage<'_>]) -> Vec<usize> {
    let mut last: Vec<usize> = (0..stages.len()).collect();
    for (id, stage) in stages.iter().enumerate() {
        for &input in stage.inputs {
            last[input] = id;
        }
        if let Some((_, before)) = convolution_before(stages, id) {
            for &input in stages[before].inputs {
                last[input] = last[input].max(id);
            }
        }
    }
    last
}
