//! Number formats, range estimators and fake quantization of networks.
//!
//! ```text
//! QuantConfig + Network -> Plan                        which tensors, how many bits, which plugins
//! Samples -> RangeEstimator -> Range                   what is worth representing
//! Range + bits -> Quantizer -> Affine, Grid            integer codes and back
//! Network + Plan + images -> Calibrator -> QuantizedNetwork -> FakeQuantTap -> logits
//! QuantizedNetwork + learned quantizers -> training -> frozen QuantizedNetwork
//! QuantizedNetwork -> Audit                            what really passed, against the plan
//! QuantizedNetwork + teacher + images -> LayerError    what it cost, by layer
//! ```

mod affine;
mod allocate;
mod analysis;
#[cfg(test)]
mod architectures;
mod audit;
mod bounds;
mod change_groups;
mod channel_statistics;
mod codec;
mod csv_cell;
mod deviation;
mod distribution;
mod error;
mod families;
mod format;
mod granularity;
mod grid;
mod host;
mod host_layer;
mod interval;
mod ks_report;
mod layer_error;
mod learned;
mod link;
mod moments;
mod network;
mod output_shift;
mod sequential;

mod pass;
mod plan;
mod precision;
mod quantizer;
mod range;
#[cfg(test)]
mod reference;
mod reservoir;
mod samples;
mod shapes;
mod ste;
mod step;
#[cfg(test)]
mod testing;

pub use affine::{Affine, Arithmetic};
pub use allocate::sensitivity::BUILTIN as SENSITIVITIES;
pub use allocate::{
    AllocateConfig, Allocation, AllocationBudget, AllocationSolver, AllocationTotal, ChannelBitTable, ChannelBits,
    ChannelRounding, Frontier, HessianTarget, HessianTrace, HessianTraceConfig, KlSensitivity, KlSensitivityConfig,
    Knapsack, KnapsackItem, LayerAllocation, LayerCandidates, LayerCost, MseSensitivity, MseSensitivityConfig,
    Selection as BitSelection, Sensitivity, SensitivityRequest, SqnrSensitivity, SqnrSensitivityConfig, TraceEstimate,
    allocate, dynamic_programming, hutchinson_trace, integer_program, multiply_accumulates,
};
pub use analysis::{
    Ablation, AblationRow, Chosen, Comparison, Histogram, LayerReport, LogitError, OutputReport, Ranked, Selection,
    SelectiveTap, SignalError, UNIFORM_RMSE_PER_STEP, Verdict, WeightReport,
};
pub use audit::{Audit, AuditRow, Role};
pub use bounds::{BoundsReport, BoundsRow, Certificate, bounds, bounds_with_moments};
pub use codec::{Codebook, Codec, Half};
pub use distribution::{
    Density, DensityFamily, Fitted, Gaussian, KolmogorovSmirnov, Laplace, UnitCodebook, aciq_clip, aciq_error,
    exact_clip, integer_error, integer_step, ks_distance, mid_rise_error, unsigned_error, unsigned_step,
};
pub use error::QuantError;
pub use families::Families;
pub use format::{
    Apot, ApotConfig, BUILTIN as NUMBER_FORMATS, Binary, BinaryConfig, Fp4Config, Fp8Config, Fp8Variant, HalfFloat,
    HalfFloatConfig, KMeans, KMeansConfig, Ks, KsClip, KsCodebook, KsConfig, KsDecision, LloydMax, LloydMaxConfig,
    LloydMaxFamily, Minifloat, NumberFormat, PiecewiseLinear, PiecewiseLinearConfig, PowerOfTwo, PowerOfTwoConfig,
    Residual, ResidualConfig, ScaleRule, Ternary, TernaryConfig, TernaryRule, Uniform, UniformConfig, UniformRange,
    UniformScheme,
};
pub use granularity::Granularity;
pub use grid::Grid;
pub use interval::Range;
pub use ks_report::{KsErrors, KsReport, KsRow};
pub use layer_error::{LayerError, layer_errors, weight_mse};
pub use learned::{
    BUILTIN as LEARNED_QUANTIZERS, BinaryGradient, ClippedLevels, ClippedLevelsConfig, Dorefa, DorefaConfig, Ewgs,
    EwgsConfig, GroupStatistics, LearnedBinary, LearnedBinaryConfig, LearnedParameters, LearnedQuantizer, LearnedSite,
    LearnedState, LearnedTernary, LearnedTernaryConfig, LearnedValues, Lsq, LsqConfig, LsqPlus, LsqPlusConfig, N2uq,
    N2uqConfig, Pact, PactConfig, ReactNet, ReactNetConfig,
};
pub use moments::channel_moments;
pub use network::{Calibrator, FakeQuantTap, LayerWeight, QuantizedNetwork, QuantizedState};
pub use pass::{
    BUILTIN as PASSES, BiasAbsorption, BiasAbsorptionConfig, ChannelMoments, ClippingRule, CrossLayerEqualization,
    CrossLayerEqualizationConfig, EqualizedRange, OutlierChannelSplitting, OutlierChannelSplittingConfig, Pass,
    Relu6Treatment, Rewritten, Split, WeightClipping, WeightClippingConfig,
};
pub use plan::{Dynamic, FormatConfig, Glob, LayerOverride, Plan, PluginChoice, Protocol, QuantConfig, Target};
pub use precision::{MAX_BITS, MIN_BITS, Precision};
pub use quantizer::{
    BUILTIN as QUANTIZERS, BrecqAffine, BrecqAffineConfig, Quantizer, Symmetric, SymmetricConfig, ZeroqAffine,
    ZeroqAffineConfig,
};
pub use range::{
    Aciq, AciqConfig, AciqFamily, AciqFormula, BUILTIN as RANGE_ESTIMATORS, KSigma, KSigmaConfig, KSigmaRule, Kl,
    KlConfig, MinMax, MinMaxConfig, MovingAverage, MovingAverageConfig, Mse, MseConfig, Percentile, PercentileConfig,
    RangeEstimator, RangeObserver,
};
pub use reservoir::Reservoir;
pub use samples::Samples;
pub use ste::Ste;
pub use step::{
    ActivationSteps, ActivationStepsConfig, AdaRound, AdaRoundConfig, Admm, AdmmConfig, BUILTIN as FITTING_STEPS,
    BatchNormRange, BatchNormRangeConfig, BatchNormReestimation, BatchNormReestimationConfig, BiasCorrection,
    BiasCorrectionConfig, Brecq, BrecqConfig, CorrectionMode, DfMpc, DfMpcConfig, DistributionCorrectionConfig,
    Dropout, FitProgress, FitRequest, FittingStep, GenieM, GenieMConfig, Lapq, LapqConfig, MeasuredWith, PdQuant,
    PdQuantConfig, QDrop, QDropConfig, SeqMse, SeqMseConfig, Silent, Squant, SquantConfig, Stage, StochasticRounding,
    StochasticRoundingConfig, Stretch, WeightCorrection, WeightCorrectionConfig,
};
