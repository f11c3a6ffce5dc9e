//! Images made by optimising their pixels: what all recipes share.
//!
//! ```text
//! Recipe::start -> canvas -(Recipe::transform)-> teacher -> View -(Recipe::terms)-> sum of weight * value
//!                    ^------------------- optimizer, schedule <- gradient ------------------'
//! ```

pub(crate) mod class_centres;
mod engine;
pub(crate) mod geometry;
mod labels;
pub(crate) mod margin;
mod pixel_range;
pub(crate) mod prior;
mod recipe;
mod schedule;
mod with_priors;

pub use class_centres::ClassCentresConfig;
pub use labels::LabelRule;
pub use margin::Margin;
pub use schedule::{CosineConfig, ScheduleConfig, StepConfig};

pub(crate) use engine::{Plan, look, optimise};
pub(crate) use labels::one_hot;
pub(crate) use pixel_range::PixelRange;
pub(crate) use recipe::{Recipe, Term, View};
pub(crate) use with_priors::WithPriors;

#[cfg(test)]
mod tests;
