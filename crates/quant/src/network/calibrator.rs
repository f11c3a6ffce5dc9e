//! Finding the ranges of activations.

use std::collections::BTreeMap;
use std::fmt;

use blindfold_zoo::{Network, Site, Tap};
use burn::tensor::Tensor;

use super::observer::CodecObserver;
use super::quantized::QuantizedNetwork;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::learned::{GroupStatistics, StatisticsObserver};
use crate::plan::Plan;
use crate::samples::Samples;

/// A calibration under way: shows batches of images to a network whose weights are quantized already, and at each activation
/// site observes, quantizes with the range known so far, and goes on, so that later layers see what they will see in use.
pub struct Calibrator {
    quantized: QuantizedNetwork,
    runner: Network,
    observers: BTreeMap<String, CodecObserver>,
    statistics: BTreeMap<String, StatisticsObserver>,
    batches: usize,
}

impl fmt::Debug for Calibrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calibrator")
            .field("network", &self.runner.name())
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

impl Calibrator {
    /// Quantizes the weights; activations are to be observed.
    ///
    /// # Errors
    /// [`QuantError::OtherNetwork`] for another plan's network, [`QuantError::NotFinite`] for broken weights (with the layer).
    pub fn new(network: Network, plan: Plan) -> Result<Self, QuantError> {
        Self::of(QuantizedNetwork::with_weights(network, plan)?)
    }

    /// Takes up a network whose weights are quantized; activations are to be observed.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] for broken weights (with the layer).
    pub fn of(quantized: QuantizedNetwork) -> Result<Self, QuantError> {
        let runner = quantized.bake()?.network;
        let sites = quantized.plan.activations().filter(|target| target.dynamic.is_none());
        let observers = sites
            .filter_map(|target| Some((target.name.clone(), CodecObserver::new(target, target.precision.bits()?))))
            .collect();
        let learned = quantized.plan.activations().filter(|target| target.learned.is_some());
        let statistics = learned.map(|target| (target.name.clone(), StatisticsObserver::default())).collect();
        Ok(Self { quantized, runner, observers, statistics, batches: 0 })
    }

    /// Shows one batch of images `[batch, channel, height, width]`.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the site for activations that are NaN or infinite, and the estimators' own.
    pub fn observe(&mut self, images: Tensor<4>) -> Result<(), QuantError> {
        let Self { quantized, runner, observers, statistics, .. } = self;
        let QuantizedNetwork { plan, activations, statistics: known, .. } = quantized;
        let mut tap = ObservingTap { plan, observers, codecs: activations, statistics, known, fault: None };
        runner.run(images.inner(), &mut tap);
        match tap.fault {
            Some(error) => Err(error),
            None => {
                self.batches += 1;
                Ok(())
            }
        }
    }

    /// How many batches were observed.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The network with the ranges known so far.
    pub fn current(&self) -> &QuantizedNetwork {
        &self.quantized
    }

    /// Freezes the ranges.
    ///
    /// # Errors
    /// [`QuantError::NoImages`] when nothing was observed and there are activations to quantize.
    pub fn finish(mut self) -> Result<QuantizedNetwork, QuantError> {
        if self.batches == 0 && !self.observers.is_empty() {
            return Err(QuantError::NoImages);
        }
        self.quantized.calibrated = true;
        Ok(self.quantized)
    }
}

struct ObservingTap<'a> {
    plan: &'a Plan,
    observers: &'a mut BTreeMap<String, CodecObserver>,
    codecs: &'a mut BTreeMap<String, Codec>,
    statistics: &'a mut BTreeMap<String, StatisticsObserver>,
    known: &'a mut BTreeMap<String, Vec<GroupStatistics>>,
    fault: Option<QuantError>,
}

impl ObservingTap<'_> {
    fn observe(&mut self, name: &str, output: &Tensor<4>) -> Result<Option<Tensor<4>>, QuantError> {
        let Some(target) = self.plan.activation(name) else { return Ok(None) };
        let Some(bits) = target.precision.bits() else { return Ok(None) };
        if target.dynamic.is_some() {
            let (codec, view) = target.dynamic_codec(output.clone(), bits)?;
            return Ok(Some(codec.fake_quantize(view).reshape(output.dims())));
        }
        let Some(observer) = self.observers.get_mut(name) else { return Ok(None) };
        let samples = Samples::of(output.clone(), target.granularity.activation_axis())?;
        observer.observe(&samples)?;
        if let Some(statistics) = self.statistics.get_mut(name) {
            statistics.observe(&samples)?;
            self.known.insert(name.to_owned(), statistics.statistics());
        }
        let codec = observer.codec(target)?;
        let quantized = codec.fake_quantize(output.clone());
        self.codecs.insert(name.to_owned(), codec);
        Ok(Some(quantized))
    }
}

impl Tap for ObservingTap<'_> {
    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        if self.fault.is_some() {
            return output;
        }
        match self.observe(&site.node.name, &output) {
            Ok(quantized) => quantized.unwrap_or(output),
            Err(error) => {
                self.fault = Some(error.at(&site.node.name));
                output
            }
        }
    }
}
