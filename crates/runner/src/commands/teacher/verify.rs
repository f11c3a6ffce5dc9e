//! `blindfold teacher verify`.

use std::process::ExitCode;

use anyhow::Result;
use blindfold_zoo::{catalogue, find_teacher, fold_batch_norms};

use super::super::{Place, print};
use crate::Registry;
use crate::config::{DataTable, TeacherTable};
use crate::evaluate::{Probe, logits};
use crate::record::Console;
use crate::teachers;

/// Points by which a measured accuracy may differ from its reference.
const TOLERANCE: f64 = 0.05;

pub(super) fn verify(registry: Registry, names: &[String], place: &Place) -> Result<ExitCode> {
    let context = place.context(registry, Console::stderr())?;
    let all = names.is_empty();
    let names: Vec<String> = if all { catalogue().into_keys().collect() } else { names.to_vec() };
    let mut well = true;
    for name in names {
        let card = find_teacher(&name)?;
        if all && !teachers::path_of(&card, &context.project, &context.home)?.is_file() {
            print(&format!("{name:<22} not at hand\n"));
            continue;
        }
        let table =
            TeacherTable { name: name.clone(), hash: None, file: None, architecture: None, normalization: None };
        let teacher = context.teacher(&table)?;
        let data = DataTable { name: card.data.clone(), limit: None, table: toml::Table::new() };
        let images = match context.test_set(&data)? {
            Ok(images) => images,
            Err(how) => {
                print(&format!("{name:<22} loads, its SHA-256 is right; accuracy not measured: {how}\n"));
                continue;
            }
        };
        let folded = fold_batch_norms(teacher.network.clone());
        let probe = Probe::Test(&images, &teacher.normalization, images.len());
        let answers = logits(|images| folded.forward(images), &probe, 50, &context.device.device);
        let [top1, top5] = answers.accuracy(&images.labels);
        let right = (top1 - card.top1).abs() <= TOLERANCE
            && card.top5.is_none_or(|top5_card| (top5 - top5_card).abs() <= TOLERANCE);
        well &= right;
        print(&format!(
            "{name:<22} {:<4} top-1 {top1:.2} % (reference {:.2}), top-5 {top5:.2} %{} on {} images of {}\n",
            if right { "ok" } else { "NOT" },
            card.top1,
            card.top5.map(|top5| format!(" (reference {top5:.2})")).unwrap_or_default(),
            images.len(),
            card.data
        ));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
