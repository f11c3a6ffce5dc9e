//! Networks that run with fake quantization.

mod calibrator;
#[cfg(test)]
mod dynamic_tests;
mod learned;
#[cfg(test)]
mod learned_tests;
mod observer;
mod quantized;
mod state;
mod tap;
#[cfg(test)]
mod tests;
mod weight;

pub use calibrator::Calibrator;
pub use quantized::QuantizedNetwork;
pub use state::QuantizedState;
pub use tap::FakeQuantTap;
pub use weight::LayerWeight;
