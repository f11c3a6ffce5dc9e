//! Fitting steps that make stretches of a network give again what they gave in floating point.
//!
//! One engine and its settings: the network is taken apart into units, and each in turn is fitted on what
//! reaches it through the student as quantized so far, towards what the teacher's same stretch puts out.
//!
//! ```text
//! units -> Flow (cached values of teacher and student) -> Task (one unit) -> Method -> Fitted -> kept if no worse
//! Settings: Method by gradient (soft rounding, activation steps)        Admm: Method by alternation
//!           towards a Goal: the teacher's own values, or values corrected by its batch norms
//! ```

pub(super) mod activation_steps;
pub(super) mod adaround;
pub(super) mod admm;
mod alternation;
pub(super) mod brecq;
mod correction;
mod dropout;
mod engine;
mod flow;
pub(super) mod genie_m;
mod goal;
mod lattice;
mod learned_step;
mod loss;
mod optimize;
mod parameter;
pub(super) mod pd_quant;
mod placement;
pub(super) mod qdrop;
mod schedule;
mod settings;
mod soft_tap;
mod soft_weight;
mod task;
#[cfg(test)]
mod tests;
mod units;
mod watched_norms;

pub use activation_steps::{ActivationSteps, ActivationStepsConfig};
pub use adaround::{AdaRound, AdaRoundConfig};
pub use admm::{Admm, AdmmConfig};
pub use brecq::{Brecq, BrecqConfig};
pub use correction::DistributionCorrectionConfig;
pub use dropout::Dropout;
pub use genie_m::{GenieM, GenieMConfig};
pub use pd_quant::{PdQuant, PdQuantConfig};
pub use qdrop::{QDrop, QDropConfig};
pub use units::Stretch;
