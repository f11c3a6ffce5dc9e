//! What the error is, on given images.

use blindfold_zoo::{Network, NodeId, Site, Tap, Taps};
use burn::tensor::{Tensor, TensorData};

use super::walk::NodeBounds;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use crate::samples::host_values;

/// Images that run together.
const BATCH: usize = 8;

/// The student's output less the teacher's at one node, over all images and elements.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Largest absolute value.
    pub(super) max: f64,
    /// Sum of squares.
    squares: f64,
    /// How many there are.
    count: usize,
    /// How many lie outside their bounds.
    pub(super) outside: usize,
}

impl Measured {
    /// Root mean square.
    pub(super) fn rms(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }
}

/// What was measured on some images.
#[derive(Debug)]
pub(super) struct Measurement {
    /// By node.
    pub(super) nodes: Vec<Measured>,
    /// The teacher's logits, image by image.
    pub(super) logits: Vec<Vec<f32>>,
}

/// Runs both networks, which are without gradients, on all images.
///
/// # Errors
/// [`QuantError::Bound`] with a fault of the student's run, [`QuantError::Groups`] at the node whose sizes differ.
pub(super) fn measure(
    teacher: &Network,
    student: &QuantizedNetwork,
    images: &Tensor<4>,
    bounds: &[NodeBounds],
) -> Result<Measurement, QuantError> {
    let [_, channels, height, width] = images.dims();
    let device = images.device().inner();
    let values = host_values(images.clone());
    let mut measurement = Measurement { nodes: vec![Measured::default(); bounds.len()], logits: Vec::new() };
    for batch in values.chunks((BATCH * channels * height * width).max(1)) {
        let count = batch.len() / (channels * height * width).max(1);
        let batch = Tensor::<4>::from_data(TensorData::new(batch.to_vec(), [count, channels, height, width]), &device);
        let mut outputs = Outputs { nodes: vec![Vec::new(); bounds.len()] };
        let logits = teacher.run(batch.clone(), &mut outputs).into_data().iter::<f32>().collect::<Vec<f32>>();
        let classes = (logits.len() / count.max(1)).max(1);
        measurement.logits.extend(logits.chunks(classes).map(<[f32]>::to_vec));
        let mut fake = student.tap();
        let mut meter = Meter { teacher: outputs.nodes, bounds, nodes: &mut measurement.nodes, mismatch: None };
        student.network.run(batch, &mut Taps(vec![&mut fake, &mut meter]));
        if let Some((id, error)) = meter.mismatch {
            return Err(error.at(&teacher.node(id).name));
        }
        if let Some(fault) = fake.fault() {
            return Err(QuantError::Bound(fault.to_string()));
        }
    }
    Ok(measurement)
}

/// Keeps the outputs of all nodes.
struct Outputs {
    nodes: Vec<Vec<f32>>,
}

impl Tap for Outputs {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        self.nodes[site.id] = host_values(output.clone());
        output
    }
}

/// Compares outputs with the teacher's and with their bounds.
struct Meter<'a> {
    teacher: Vec<Vec<f32>>,
    bounds: &'a [NodeBounds],
    nodes: &'a mut [Measured],
    mismatch: Option<(NodeId, QuantError)>,
}

impl Tap for Meter<'_> {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        let teacher = std::mem::take(&mut self.teacher[site.id]);
        let student = host_values(output.clone());
        let bounds = &self.bounds[site.id];
        if teacher.len() != student.len() || !student.len().is_multiple_of(bounds.low.len().max(1)) {
            let error = QuantError::Groups { expected: teacher.len(), found: student.len() };
            self.mismatch.get_or_insert((site.id, error));
            return output;
        }
        let node = &mut self.nodes[site.id];
        let ends = bounds.low.iter().zip(&bounds.high).cycle();
        for ((student, teacher), (low, high)) in student.iter().zip(&teacher).zip(ends) {
            let difference = f64::from(*student) - f64::from(*teacher);
            // What is no number is outside.
            node.outside += usize::from(!(*low..=*high).contains(&difference));
            node.max = node.max.max(difference.abs());
            node.squares += difference * difference;
        }
        node.count += student.len();
        output
    }
}
