//! The images of a run: from the cache, or made now.

use std::time::Instant;

use anyhow::Result;
use blindfold_synth::{ImageSet, ImageSource, Progress, Request, Step, SynthError, cache_identity};
use blindfold_zoo::{merge_defaults, sha256_hex};
use toml::Table;

use super::cache::{CacheSlot, Claimed};
use super::context::Context;
use crate::config::{DataTable, SourceTable};
use crate::interrupt;
use crate::record::{Phase, Record, Task, Versions};
use crate::teachers::Teacher;

/// Images with the story of their making.
pub(crate) struct MadeImages {
    pub(crate) images: ImageSet,
    pub(crate) records: Vec<Record>,
    /// SHA-256 of what they depend on; of the images themselves where they are real.
    pub(crate) key: String,
    /// Whether data was used.
    pub(crate) real: bool,
    /// Forward and backward passes of one image that they cost.
    pub(crate) passes: u64,
}

struct Report {
    task: Task,
    records: Vec<Record>,
    began: Instant,
    seen: u64,
}

impl Progress for Report {
    fn step(&mut self, step: Step<'_>) {
        let record = Record::new(Phase::Synth, self.seen, self.began.elapsed().as_secs_f64())
            .with_all(step.scalars.iter().map(|&(name, value)| (format!("synth/{name}"), value)));
        self.seen += 1;
        let note = step.scalars.first().map(|(tag, value)| format!("{tag} {value:.4}")).unwrap_or_default();
        self.task.set(step.iteration as u64, &note);
        self.records.push(record);
    }

    fn cancelled(&self) -> bool {
        interrupt::asked()
    }
}

struct Place {
    built: Box<dyn ImageSource>,
    table: Table,
    slot: CacheSlot,
}

fn place(context: &Context, source: &SourceTable, teacher: &Teacher, seed: u64) -> Result<Place> {
    let entry = *context.registry.sources.get(&source.source).map_err(|error| error.within("images"))?;
    let built = (entry.build)(source.table.clone()).map_err(|error| error.within(&source.source).within("images"))?;
    let table = merge_defaults((entry.defaults)(), source.table.clone());
    let versions = Versions::current();
    let identity = cache_identity(&teacher.hash, &source.source, &table, seed)
        + &format!("device {}\nblindfold {}\nburn {}\n", context.device.name, versions.blindfold, versions.burn);
    let slot = CacheSlot::new(&context.project.cache().join("images"), &identity);
    Ok(Place { built, table, slot })
}

/// Where the images that `source` gives for this teacher and seed lie once they are made; none for real ones.
pub(crate) fn slot(context: &Context, source: &SourceTable, teacher: &Teacher, seed: u64) -> Result<Option<CacheSlot>> {
    let Place { built, slot, .. } = place(context, source, teacher, seed)?;
    Ok((!built.needs_real()).then_some(slot))
}

/// The images that `source` gives for this teacher and seed. `None` when the user stopped it.
pub(crate) fn make(
    context: &Context,
    source: &SourceTable,
    data: &DataTable,
    teacher: &Teacher,
    seed: u64,
    label: &str,
) -> Result<Option<MadeImages>> {
    let Place { built, table, slot } = place(context, source, teacher, seed)?;
    let real = built.needs_real();
    let batch = table.get("batch").and_then(toml::Value::as_integer).map_or(built.count(), |batch| batch as usize);
    let batches = built.count().div_ceil(batch.max(1)).max(1);
    let passes = |records: &[Record]| (records.len() / batches * built.count()) as u64;
    // Real images are never written into the cache.
    if let Some((images, records)) = slot.read().filter(|_| !real) {
        context.console.line(&format!("{label} {} images of {} from the cache", images.len(), source.source));
        return Ok(Some(MadeImages { passes: passes(&records), images, records, key: slot.key, real }));
    }
    let waits = |holder: &str| context.console.line(&format!("{label} waits for the images that {holder} makes"));
    let claim = match real {
        true => None,
        false => match slot.claim(waits)? {
            Claimed::Mine(claim) => Some(claim),
            Claimed::Made(images, records) => {
                return Ok(Some(MadeImages { passes: passes(&records), images, records, key: slot.key, real }));
            }
            Claimed::Stopped => return Ok(None),
        },
    };
    let real_images = if real { Some(context.real_images(data)?) } else { None };
    let iterations = table.get("iterations").and_then(toml::Value::as_integer).unwrap_or(1) as u64;
    let total = iterations * batches as u64;
    let mut report =
        Report { task: context.console.task(label, total, 0), records: Vec::new(), began: Instant::now(), seen: 0 };
    let request = Request {
        teacher: &teacher.network,
        normalization: &teacher.normalization,
        seed,
        real: real_images.as_deref(),
        progress: &mut report,
    };
    let images = match built.synthesize(request) {
        Ok(images) => images,
        Err(SynthError::Cancelled) => {
            report.task.end("stopped");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let Report { task, records, .. } = report;
    task.end(&format!("{} images of {}", images.len(), source.source));
    let key = if real {
        sha256_hex(&images.to_bytes()?)
    } else {
        slot.write(&images, &records)?;
        slot.key
    };
    if let Some(claim) = claim {
        claim.finish();
    }
    Ok(Some(MadeImages { passes: passes(&records), images, records, key, real }))
}
