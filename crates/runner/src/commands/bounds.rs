//! `blindfold bounds`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use blindfold_quant::{BoundsReport, ChannelMoments, Rewritten, bounds_with_moments};
use blindfold_synth::ImageSet;
use blindfold_zoo::{Normalization, stream};
use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use rand::RngExt;

use super::exp::rename;
use super::{Place, print, tell};
use crate::analysis::Subject;
use crate::config::{Experiment, Wishes};
use crate::pipeline::{Prepared, quantized};
use crate::record::{Console, RunFolder, write_atomic};
use crate::{Project, Registry, Usage, interrupt};

const BROKEN: &str = "a measured difference was outside its bounds: either the device computes in less than f32 or by \
                      transforms that the bounds do not know (--device flex does neither), or this is a fault of blindfold";

/// Arguments of `bounds`.
#[derive(Debug, Args)]
pub(super) struct BoundsArgs {
    /// An experiment of configs/, or the path of a TOML file (also of a run's own config.toml).
    experiment: String,
    /// The method; the experiment's first where none is given.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The seed; the experiment's first where none is given.
    #[arg(long, allow_negative_numbers = true, value_parser = super::exp::parse_seed)]
    seed: Option<u64>,
    /// Bound the images within so many 255ths of one image, pixel by pixel, instead of all that pixels can be.
    #[arg(long, value_name = "R")]
    radius: Option<f32>,
    /// Which image --radius is around, counted from 0 among those that the method calibrates on [default: 0].
    #[arg(long, requires = "radius", value_name = "INDEX")]
    image: Option<usize>,
    /// Measure on so many images of the box.
    #[arg(long, default_value_t = 16, value_name = "N")]
    images: usize,
    /// Set a key of the configuration, such as quant.weight_bits=3 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// With the experiment's [fast] table.
    #[arg(long)]
    fast: bool,
    /// With the method's full budget: its [budget.full] table.
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn bounds(registry: Registry, args: &BoundsArgs) -> Result<ExitCode> {
    let project = Project::find(args.place.out.clone())?;
    let experiment = Experiment::read(&project, &args.experiment)?;
    let method = args.method.as_ref().unwrap_or(&experiment.methods()[0]);
    let seed = args.seed.unwrap_or(experiment.seeds()[0]);
    let wishes = Wishes { fast: args.fast, full: args.full, sets: &args.sets };
    let mut config = experiment.resolve(&project, method, seed, wishes)?;
    rename(&mut config.experiment.name, wishes);
    if let Some(radius) = args.radius.filter(|radius| !(0.0..=255.0).contains(radius)) {
        return Err(Usage(format!("--radius {radius}: write a number of 255ths from 0 to 255")).into());
    }
    let image = args.image.unwrap_or(0);
    interrupt::listen();
    let context = args.place.context(registry, Console::stderr())?;
    let label = format!("{method}/{seed}");
    let Some(prepared) = quantized(&context, &config, &label)? else {
        tell("stopped: nothing was written");
        return Ok(ExitCode::from(1));
    };
    let count = prepared.images.images.len();
    if args.radius.is_some() && image >= count {
        return Err(Usage(format!("--image {image}: there are {count} images, counted from 0")).into());
    }
    let subject = Subject::of(&context, &config, &prepared)?;
    context.console.line(&format!("{label} bounding {}", subject.what));
    let study = Bounding {
        folded: folded_moments(&prepared),
        prepared: &prepared,
        subject: &subject,
        device: &context.device.device,
        count: args.images,
        seed,
    };
    let (report, tightening) = match args.radius {
        None => (study.report(&study.all(), None)?, Vec::new()),
        Some(radius) => {
            let within = |radius: f32| study.report(&study.around(image, radius), Some(image));
            let report = within(radius)?;
            let mut tightening = vec![
                ("all images".to_owned(), study.report(&study.all(), None)?),
                (format!("within {radius}/255"), report.clone()),
            ];
            let smaller = [radius / 2.0, radius / 4.0, 0.0].into_iter().filter(|part| *part < radius);
            for part in smaller {
                tightening.push((format!("within {part}/255"), within(part)?));
            }
            (report, tightening)
        }
    };
    let folder = RunFolder::path_of(&project.results().join("bounds"), &config.experiment.name, method, seed);
    let (title, file) = match args.radius {
        None => (
            format!("all images that pixels can make, measured on {} of the method's", report.images),
            "bounds".to_owned(),
        ),
        Some(radius) => {
            let what = format!("images within {radius}/255 of image {image}, measured on {} of them", report.images);
            (what, format!("bounds-image-{image}-radius-{radius}"))
        }
    };
    let passes: Vec<&str> = config.quant.passes.iter().map(|pass| pass.kind.as_str()).collect();
    let passes = match passes.as_slice() {
        [] => String::new(),
        _ => format!(" The teacher is the network after its passes ({}).", passes.join(", ")),
    };
    let title =
        format!("# {} / {method} / seed {seed}: {title}\n\nOf {}.{passes}\n\n", config.experiment.name, subject.what);
    let page = title + &report.to_markdown() + &tightening_table(&tightening);
    write_atomic(&folder.join(format!("{file}.md")), page.as_bytes())?;
    write_atomic(&folder.join(format!("{file}.csv")), report.to_csv().as_bytes())?;
    if args.json {
        let mut value = serde_json::to_value(&report)?;
        let logits = tightening.iter().map(|(what, report)| (what, report.logits(), &report.certificate));
        value["tightening"] = serde_json::to_value(logits.collect::<Vec<_>>())?;
        value["folder"] = folder.display().to_string().into();
        print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    } else {
        print(&format!("{page}\n{}\n", folder.join(format!("{file}.md")).display()));
    }
    if !report.holds() {
        bail!(BROKEN);
    }
    Ok(ExitCode::SUCCESS)
}

/// Images between two images, as the teacher reads them.
struct ImageBox {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl ImageBox {
    /// Every pixel from 0 to 1.
    fn of_all(normalization: &Normalization, [channels, height, width]: [usize; 3]) -> Self {
        let corner = |pixel: f32| -> Vec<f32> {
            let values =
                (0..channels).map(|channel| (pixel - normalization.mean[channel]) / normalization.std[channel]);
            values.flat_map(|value| std::iter::repeat_n(value, height * width)).collect()
        };
        Self { low: corner(0.0), high: corner(1.0) }
    }

    /// The part of this box within `radius` 255ths of an image, which is moved into the box first.
    fn around(&self, image: &[f32], normalization: &Normalization, radius: f32) -> Self {
        let area = image.len() / normalization.std.len().max(1);
        let reach = |index: usize| radius / 255.0 / normalization.std[index / area.max(1)];
        let centre = self.clamped(image);
        let low = centre.iter().enumerate().map(|(index, x)| (x - reach(index)).max(self.low[index]));
        let high = centre.iter().enumerate().map(|(index, x)| (x + reach(index)).min(self.high[index]));
        Self { low: low.collect(), high: high.collect() }
    }

    /// The image of the box that is nearest, pixel by pixel.
    fn clamped(&self, image: &[f32]) -> Vec<f32> {
        image.iter().zip(&self.low).zip(&self.high).map(|((x, low), high)| x.max(*low).min(*high)).collect()
    }

    /// Random images of the box: in turn corners and images anywhere in it.
    fn samples(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut random = stream(seed, "bounds images");
        let mut values = Vec::with_capacity(count * self.low.len());
        for index in 0..count {
            for (low, high) in self.low.iter().zip(&self.high) {
                let place: f32 = random.random();
                let place = if index.is_multiple_of(2) { place.round() } else { place };
                values.push((low + place * (high - low)).max(*low).min(*high));
            }
        }
        values
    }
}

/// What is bounded, and what it is measured on.
struct Bounding<'a> {
    prepared: &'a Prepared,
    subject: &'a Subject,
    folded: BTreeMap<String, ChannelMoments>,
    device: &'a Device,
    count: usize,
    seed: u64,
}

impl Bounding<'_> {
    fn images(&self) -> &ImageSet {
        &self.prepared.images.images
    }

    fn all(&self) -> ImageBox {
        ImageBox::of_all(&self.prepared.teacher.normalization, self.images().shape)
    }

    fn around(&self, image: usize, radius: f32) -> ImageBox {
        self.all().around(self.images().image(image), &self.prepared.teacher.normalization, radius)
    }

    /// The bounds of a box, measured on the method's images moved into it, or on one of them and random images of the
    /// box.
    fn report(&self, place: &ImageBox, centre: Option<usize>) -> Result<BoundsReport> {
        let images = self.images();
        let chosen = match centre {
            Some(image) => image..(image + self.count.min(1)),
            None => 0..self.count.min(images.len()),
        };
        let mut values: Vec<f32> = chosen.clone().flat_map(|index| place.clamped(images.image(index))).collect();
        if centre.is_some() {
            values.extend(place.samples(self.count - chosen.len(), self.seed));
        }
        let (low, high) = (self.tensor(place.low.clone()), self.tensor(place.high.clone()));
        let measured = (!values.is_empty()).then(|| self.tensor(values));
        let Prepared { prepared_teacher: teacher, .. } = self.prepared;
        Ok(bounds_with_moments(teacher, &self.subject.student, &self.folded, &low, &high, measured.as_ref())?)
    }

    fn tensor(&self, values: Vec<f32>) -> Tensor<4> {
        let [channels, height, width] = self.images().shape;
        let count = values.len() / (channels * height * width);
        Tensor::from_data(TensorData::new(values, [count, channels, height, width]), self.device)
    }
}

/// The moments of batch norms that were folded into convolutions which no pass has changed since.
fn folded_moments(prepared: &Prepared) -> BTreeMap<String, ChannelMoments> {
    let Rewritten { network, mut moments, .. } = Rewritten::new(prepared.teacher.network.clone()).folded();
    let plain: BTreeMap<String, TensorData> = network.state().into_iter().collect();
    let own: BTreeMap<String, TensorData> = prepared.prepared_teacher.state().into_iter().collect();
    moments.retain(|name, _| {
        ["weight", "bias"].iter().all(|part| {
            let name = format!("{name}.{part}");
            plain.get(&name) == own.get(&name)
        })
    });
    moments
}

/// How the bounds of the logits shrink with the box.
fn tightening_table(reports: &[(String, BoundsReport)]) -> String {
    if reports.is_empty() {
        return String::new();
    }
    let mut text = "\n## Logits, by the size of the box\n\n\
                    | box | interval max | tighter max | measured max | lead needed | certain to keep their class |\n\
                    |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (what, report) in reports {
        let Some(row) = report.logits() else { continue };
        let certificate = &report.certificate;
        let measured = row.measured_max.map_or_else(|| "-".to_owned(), |max| format!("{max:.3e}"));
        let certified =
            certificate.certified.map_or_else(|| "-".to_owned(), |count| format!("{count} of {}", report.images));
        text += &format!(
            "| {what} | {:.3e} | {:.3e} | {measured} | {:.3e} | {certified} |\n",
            row.interval_max, row.tighter_max, certificate.margin_needed
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalization() -> Normalization {
        Normalization { mean: vec![0.5, 0.25], std: vec![0.5, 0.1] }
    }

    #[test]
    fn the_whole_box_is_black_to_white_as_the_teacher_reads_it() {
        let all = ImageBox::of_all(&normalization(), [2, 1, 2]);
        assert_eq!((all.low, all.high), (vec![-1.0, -1.0, -2.5, -2.5], vec![1.0, 1.0, 7.5, 7.5]));
    }

    #[test]
    fn a_box_around_an_image_stays_within_what_pixels_can_be() {
        let all = ImageBox::of_all(&normalization(), [2, 1, 2]);
        let place = all.around(&[0.0, 0.999, 9.0, 0.0], &normalization(), 2.55);
        let close = |found: &[f32], expected: [f32; 4]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
        // 2.55 / 255 = 0.01 is 0.02 of the first channel's deviations and 0.1 of the second's; 9 is brighter than
        // white.
        assert!(close(&place.low, [-0.02, 0.979, 7.4, -0.1]), "{:?}", place.low);
        assert!(close(&place.high, [0.02, 1.0, 7.5, 0.1]), "{:?}", place.high);
        let samples = place.samples(6, 1);
        assert_eq!(samples.len(), 24);
        for image in samples.chunks(4) {
            assert_eq!(place.clamped(image), image);
        }
        assert!(samples[..4].iter().enumerate().all(|(index, x)| *x == place.low[index] || *x == place.high[index]));
        assert_eq!(place.samples(6, 1), samples);
    }
}
