//! The network that draws images.

use std::collections::BTreeMap;

use blindfold_zoo::{BatchNorm2d, BatchStatistics, ConfigError, Layer, Network, Site, Tap, parameter_id, stream};
use burn::module::{Module, Param};
use burn::tensor::module::batch_norm_train;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use super::latents::Latents;
use super::layers::{INNER_NORMS, LAST_NORM, graph, inner_channels};
use super::settings::{Conditioning, GeneratorSettings};
use crate::error::SynthError;

const EMBEDDING: &str = "embedding.weight";

/// What the embedding of the classes is at the start.
#[derive(Debug, Clone)]
pub(super) enum EmbeddingValues {
    /// There is no embedding.
    None,
    /// Drawn from `N(0, 1)`, as `torch.nn.Embedding` does.
    Random,
    /// These, a row of `latent` values for each class.
    Given(Vec<f32>),
}

/// What a generator is built for.
#[derive(Debug, Clone)]
pub(super) struct Blueprint<'a> {
    pub(super) settings: &'a GeneratorSettings,
    /// Length of a latent code.
    pub(super) latent: usize,
    /// `[channel, height, width]`.
    pub(super) image: [usize; 3],
    pub(super) classes: usize,
    pub(super) embedding: EmbeddingValues,
}

/// A generator of images from latent codes, with everything in it that is trained.
///
/// Its batch norms take the statistics of the batch always: when images are only drawn, too.
#[derive(Module, Debug)]
pub(super) struct Generator {
    network: Network,
    embedding: Option<Param<Tensor<2>>>,
    norms: Vec<ClassNorm>,
    #[module(skip)]
    image: [usize; 3],
    #[module(skip)]
    classes: usize,
}

/// Scale and shift of one batch norm for each class, both `[classes, channels]`.
#[derive(Module, Debug)]
struct ClassNorm {
    #[module(skip)]
    node: String,
    gamma: Param<Tensor<2>>,
    beta: Param<Tensor<2>>,
}

impl Generator {
    /// A generator on the autodiff device that belongs to `device`, with values drawn from `seed`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for images whose sides are not divisible by 4.
    pub(super) fn new(plan: &Blueprint<'_>, device: &Device, seed: u64) -> Result<Self, ConfigError> {
        let &Blueprint { settings, latent, image, classes, .. } = plan;
        let [_, height, width] = image;
        if height == 0 || width == 0 || !height.is_multiple_of(4) || !width.is_multiple_of(4) {
            let fix = "take a teacher whose images have sides divisible by 4: the generator doubles them twice";
            return Err(ConfigError::invalid("teacher", format!("images of {height}x{width} pixels"), fix));
        }
        let mut random = stream(seed, "generator initialisation");
        let network = graph(settings, latent, image, device, &mut random);
        let embedding = match &plan.embedding {
            EmbeddingValues::None => None,
            EmbeddingValues::Given(values) => Some(values.clone()),
            EmbeddingValues::Random => {
                Some((0..classes * latent).map(|_| StandardNormal.sample(&mut random)).collect())
            }
        };
        let by_class = settings.conditional && settings.conditioning == Conditioning::BatchNorm;
        let filled = |value: f32, channels: usize| table(vec![value; classes * channels], channels, device);
        let norms: Vec<ClassNorm> = INNER_NORMS
            .into_iter()
            .zip(inner_channels(settings))
            .filter(|_| by_class)
            .map(|(node, channels)| ClassNorm {
                node: node.to_owned(),
                gamma: trained(&scale_name(node), filled(1.0, channels)),
                beta: trained(&shift_name(node), filled(0.0, channels)),
            })
            .collect();
        let embedding = embedding.map(|values: Vec<f32>| trained(EMBEDDING, table(values, latent, device)));
        Ok(Self { network: trainable(network, by_class), embedding, norms, image, classes })
    }

    /// Images `[batch, channel, height, width]` of latent codes whose `noise` has one row for each code.
    pub(super) fn forward(&self, latents: &Latents, noise: Vec<f32>) -> Tensor<4> {
        let device = self.network.device();
        let (count, length) = (latents.count(), noise.len() / latents.codes().max(1));
        let code = self.code(latents, table(noise, length, &device)).reshape([count, length, 1, 1]);
        let shares = latents.targets(self.classes).filter(|_| !self.norms.is_empty());
        let shares = shares.map(|shares| table(shares, self.classes, &device) * norm_factor(latents));
        let mut tap = ClassConditional { batch: BatchStatistics::default(), norms: &self.norms, shares };
        let [channels, height, width] = self.image;
        self.network.run(code, &mut tap).reshape([count, channels, height, width])
    }

    /// What the network reads, `[images, latent]`.
    fn code(&self, latents: &Latents, noise: Tensor<2>) -> Tensor<2> {
        let embedded = |labels: &[u32]| self.embedding.as_ref().map(|embedding| rows(embedding.val(), labels));
        match latents {
            Latents::Noise { .. } => noise,
            Latents::Labelled { labels } => match embedded(labels) {
                Some(embedded) => embedded * noise,
                None => noise,
            },
            Latents::Superposed { labels, shares, parts, epsilon, .. } => {
                let codes = match embedded(labels) {
                    Some(embedded) => embedded + noise,
                    None => noise,
                };
                let ([_, length], device) = (codes.dims(), codes.device());
                let (gamma, beta) = (Tensor::ones([length], &device), Tensor::zeros([length], &device));
                let normalised = batch_norm_train(codes, gamma, beta, *epsilon).output;
                let weighted = normalised * table(shares.clone(), 1, &device);
                let images = latents.count();
                weighted.reshape([images, (*parts).max(1), length]).sum_dim(1).reshape([images, length])
            }
        }
    }

    /// All parameters by name.
    pub(super) fn state(&self) -> Vec<(String, TensorData)> {
        let mut state = self.network.state();
        let own = self.embedding.iter().map(|embedding| (EMBEDDING.to_owned(), embedding));
        let norms = self
            .norms
            .iter()
            .flat_map(|ClassNorm { node, gamma, beta }| [(scale_name(node), gamma), (shift_name(node), beta)]);
        state.extend(own.chain(norms).map(|(name, param)| (name, param.val().into_data())));
        state
    }

    /// The same generator with the parameters that [`Self::state`] gave.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] when they are those of another one.
    pub(super) fn with_state(self, state: Vec<(String, TensorData)>) -> Result<Self, SynthError> {
        let mut values: BTreeMap<String, TensorData> = state.into_iter().collect();
        let mut put = |name: &str, param: Param<Tensor<2>>| -> Result<Param<Tensor<2>>, SynthError> {
            let dims = param.val().dims();
            let fits = values.remove(name).filter(|data| data.shape().to_vec() == dims);
            let data = fits.ok_or_else(|| SynthError::malformed(PARAMETERS, format!("`{name}` is not {dims:?}")))?;
            Ok(param.map(|old| Tensor::from_data(data, &old.device()).require_grad()))
        };
        let embedding = self.embedding.map(|embedding| put(EMBEDDING, embedding)).transpose()?;
        let norms = self
            .norms
            .into_iter()
            .map(|ClassNorm { node, gamma, beta }| {
                let (gamma, beta) = (put(&scale_name(&node), gamma)?, put(&shift_name(&node), beta)?);
                Ok(ClassNorm { node, gamma, beta })
            })
            .collect::<Result<Vec<ClassNorm>, SynthError>>()?;
        let network = self.network.frozen().with_state(values.into_iter().collect());
        let network = network.map_err(|error| SynthError::malformed(PARAMETERS, error))?;
        Ok(Self { network: trainable(network, !norms.is_empty()), embedding, norms, ..self })
    }
}

const PARAMETERS: &str = "the parameters of a generator";

fn scale_name(node: &str) -> String {
    format!("{node}.classes.weight")
}

fn shift_name(node: &str) -> String {
    format!("{node}.classes.bias")
}

/// Trained, but for the scales and shifts that stay at 1 and 0: of the last batch norm, and of those that classes have.
fn trainable(network: Network, by_class: bool) -> Network {
    network.trainable().map_layers(|node, layer| match layer {
        Layer::BatchNorm2d(mut bn) if node == LAST_NORM || (by_class && INNER_NORMS.contains(&node)) => {
            bn.gamma = bn.gamma.set_require_grad(false);
            bn.beta = bn.beta.set_require_grad(false);
            Layer::BatchNorm2d(bn)
        }
        layer => layer,
    })
}

fn trained(name: &str, values: Tensor<2>) -> Param<Tensor<2>> {
    Param::initialized(parameter_id(name), values.autodiff().require_grad())
}

fn table(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// The rows of a table that belong to these classes.
fn rows(table: Tensor<2>, labels: &[u32]) -> Tensor<2> {
    let places: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [labels.len()]), &table.device());
    table.select(0, places)
}

/// What the weighted sum of the classes' scales and shifts is multiplied by.
fn norm_factor(latents: &Latents) -> f64 {
    match latents {
        Latents::Superposed { parts, average_norms: true, .. } => 1.0 / (*parts).max(1) as f64,
        _ => 1.0,
    }
}

/// Batch norms with the statistics of the batch, and with the scales and shifts of the images' classes where there are
/// any.
struct ClassConditional<'a> {
    batch: BatchStatistics,
    norms: &'a [ClassNorm],
    /// How much of each class an image has, `[batch, classes]`.
    shares: Option<Tensor<2>>,
}

impl Tap for ClassConditional<'_> {
    fn batch_norm(&mut self, site: Site<'_>, layer: &BatchNorm2d, input: &Tensor<4>) -> Option<Tensor<4>> {
        let normalised = self.batch.batch_norm(site, layer, input)?;
        let norm = self.norms.iter().find(|norm| norm.node == site.node.name);
        let (Some(norm), Some(shares)) = (norm, &self.shares) else { return Some(normalised) };
        let [batch, channels, ..] = normalised.dims();
        let of_images = |table: &Param<Tensor<2>>| shares.clone().matmul(table.val()).reshape([batch, channels, 1, 1]);
        Some(normalised * of_images(&norm.gamma) + of_images(&norm.beta))
    }
}

#[cfg(test)]
mod tests;
