//! The leaderboard, and the tables that are made from it alone.
//!
//! ```text
//! experiments/*/results.jsonl, run folders -> BoardRow -> results/leaderboard.csv
//!                                             -> experiments/*/, results/tables/*.md
//! ```

mod collect;
mod documents;
mod experiments;
mod leaderboard;
mod reference;
mod row;
mod settings;

pub(crate) use collect::{Found, take_ledgers, take_runs};
pub(crate) use documents::documents;
pub(crate) use leaderboard::Leaderboard;
