//! Networks that run with fake quantization.

mod calibrator;
mod observer;
mod quantized;
mod state;
mod tap;
mod weight;
#[cfg(test)]
mod tests;

pub use calibrator::Calibrator;
pub use quantized::QuantizedNetwork;
pub use state::QuantizedState;
pub use tap::FakeQuantTap;
pub use weight::LayerWeight;
