//! What a run leaves behind: its folder, its metrics, and the tables and curves that are read back from them.
//!
//! ```text
//! Record -> Recorder -> metrics.jsonl (the truth) -> TensorBoard events, metrics.csv, curves   (rebuilt at any time)
//!                  RunFolder: run.json, summary.json  -> compare -> tables
//! ```
//! A [`RunFolder`] is created at once or not at all, belongs to one process at a time, and is never overwritten when finished.

mod atomic;
mod claim;
mod clock;
mod compare;
mod config_diff;
mod console;
mod curves;
mod error;
mod flat;
mod folder;
mod gather;
mod git;
mod glossary;
mod grid;
mod history;
mod latex;
mod line;
mod lock;
mod owner;
mod paired;
mod plot;
mod recorder;
mod run_info;
mod sample;
mod sink;
mod stat;
mod summary;
mod table;

pub use atomic::write_atomic;
pub use claim::{Claim, Claims, Taken};
pub use clock::rfc3339;
pub use compare::{CompareError, Published, compare};
pub(crate) use compare::{shortened, teacher_content};
pub use config_diff::{Difference, config_hash, differences, flatten};
pub use console::{Console, Task};
pub use curves::{Curve, Point, curves};
pub use error::RecordError;
pub use folder::{OpenRequest, Opened, RunFolder};
pub use gather::{Gathered, Skipped, gather};
pub use git::Git;
pub use glossary::{GLOSSARY, Metric, describe, glossary_markdown};
pub(crate) use grid::{Grid, GridCell};
pub use history::{METRICS_FILE, equal_but_time, read_history};
pub use line::{Phase, Record};
pub(crate) use lock::STALE;
pub use paired::{LEAST_PAIRS, Paired, SIGNIFICANT};
pub use plot::plot;
pub(crate) use plot::{axis_title, curve_scales, draw_curves};
pub use recorder::{Recorder, rebuild};
pub use run_info::{RunIdentity, RunInfo, Status, Versions};
pub use sample::Sample;
pub use sink::{BUILTIN_SINKS, MetricSink, build_sinks};
pub use stat::Stat;
pub use summary::{Best, Summary};
pub(crate) use table::{BEST_ON_TEST, DAGGER, DOUBLE_DAGGER, REAL_DATA, count, csv_cell, duration, table_page};
pub use table::{Row, Table};
