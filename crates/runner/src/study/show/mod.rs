//! What a study shows: the generated part of its page, its tables as files, its figures.
//!
//! ```text
//! cells + finished runs -> Spot -> Sheet (one protocol, teacher, test set) -> tables (md, tex, csv)
//!                       run folders -> CurveFile (kept as csv) -> Sheet ---> figures (svg, png)
//! ```

mod curve_file;
mod figures;
mod measure;
mod page;
mod sheet;
mod tables;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use self::curve_file::CurveFile;
use self::figures::figures;
use self::page::{Shown, fill, section};
use self::sheet::{sheets, spots};
use super::{Cell, Row, Study};
use crate::Project;
use crate::plot::png;
use crate::record::{Summary, write_atomic};

/// Pixels of a PNG for one of its SVG.
const ZOOM: f32 = 2.0;
/// Figures that a sheet may have.
const FIGURES: [&str; 4] = ["bits", "curves", "cost", "size"];

/// A study's page and the files beside it.
#[derive(Debug)]
pub(crate) struct Showing {
    folder: PathBuf,
    /// Text by path below the study's folder.
    texts: Vec<(PathBuf, String)>,
    figures: Vec<(String, String)>,
    stems: Vec<String>,
}

/// Writes page, tables and figures of a study's rows.
///
/// # Errors
/// As [`showing`], and when a file cannot be written.
pub(crate) fn show(project: &Project, study: &Study, rows: &[Row]) -> Result<()> {
    let cells: Vec<(&Cell, Option<Summary>)> = rows.iter().map(|row| (&row.cell, row.summary().cloned())).collect();
    showing(study, &cells, Some(&project.runs()))?.write()
}

/// The page and all files of a study, from its cells with the outcomes of those that are finished. Curves are read from
/// the run folders below `runs` where those are there.
///
/// # Errors
/// A page without one of its marks, a file of curves that cannot be read, a run of another protocol than its place.
pub(crate) fn showing(study: &Study, cells: &[(&Cell, Option<Summary>)], runs: Option<&Path>) -> Result<Showing> {
    let folder = study.folder().to_owned();
    let mut texts = Vec::new();
    let mut shown = Vec::new();
    for sheet in sheets(&study.name, study.baseline.as_deref(), &spots(study, cells))? {
        let stem = &sheet.stem;
        let kept = PathBuf::from(format!("curves/{stem}.csv"));
        let curves = CurveFile::read(&folder.join(&kept))?.renewed(&sheet, runs);
        if !curves.is_empty() {
            texts.push((kept, curves.to_csv()));
        }
        if sheet.all().next().is_some() {
            texts.push((PathBuf::from(format!("tables/{stem}.md")), tables::markdown(&sheet)));
            texts.push((PathBuf::from(format!("tables/{stem}.tex")), tables::tex(&sheet)));
            texts.push((PathBuf::from(format!("tables/{stem}.csv")), tables::csv(&sheet)));
        }
        let figures = figures(&sheet, &curves)?;
        shown.push(Shown { sheet, figures });
    }
    let page = study.page();
    let old = match page.is_file() {
        true => fs::read_to_string(&page).with_context(|| page.display().to_string())?,
        false => format!("# {}\n\n{}\n", study.name, study.summary),
    };
    let filled = fill(&old, &section(&shown)).with_context(|| page.display().to_string())?;
    texts.push((PathBuf::from("README.md"), filled));
    let stems = shown.iter().map(|Shown { sheet, .. }| sheet.stem.clone()).collect();
    let figures = shown.into_iter().flat_map(|Shown { figures, .. }| figures).map(|figure| (figure.name, figure.svg));
    Ok(Showing { folder, texts, figures: figures.collect(), stems })
}

impl Showing {
    /// Every text by its path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        self.texts.iter().map(|(path, text)| (self.folder.join(path), text.as_str()))
    }

    /// Writes everything; a figure that is not drawn any more is removed, and one that has not changed is left alone.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        for (path, text) in &self.texts {
            write_atomic(&self.folder.join(path), text.as_bytes())?;
        }
        let folder = self.folder.join("figures");
        for (name, svg) in &self.figures {
            let (vector, pixels) = (folder.join(format!("{name}.svg")), folder.join(format!("{name}.png")));
            if pixels.is_file() && fs::read_to_string(&vector).is_ok_and(|old| old == *svg) {
                continue;
            }
            write_atomic(&pixels, &png(svg, ZOOM).with_context(|| name.clone())?)?;
            write_atomic(&vector, svg.as_bytes())?;
        }
        for name in self.stems.iter().flat_map(|stem| FIGURES.map(|kind| format!("{stem}-{kind}"))) {
            if !self.figures.iter().any(|(drawn, _)| *drawn == name) {
                for ending in ["svg", "png"] {
                    let path = folder.join(format!("{name}.{ending}"));
                    if path.is_file() {
                        fs::remove_file(&path).with_context(|| path.display().to_string())?;
                    }
                }
            }
        }
        Ok(())
    }
}
