//! summary.json: the outcome of one run.

use serde::{Deserialize, Serialize};

/// A best value among epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch that was best.
    pub epoch: u64,
    /// Student top-1 on the test set at that epoch, in %; null where it was not measured.
    pub top1: Option<f64>,
    /// What chose the epoch: `selected on test`, or the name of a synthetic criterion.
    pub criterion: String,
}

impl Best {
    /// The epoch with the best test accuracy: what papers print, and an optimistic number.
    pub fn on_test(epoch: u64, top1: f64) -> Self {
        Self { epoch, top1: Some(top1), criterion: "selected on test".to_owned() }
    }

    /// The epoch that a criterion on synthetic images chose, such as `agreement`.
    pub fn by_synthetic(epoch: u64, top1: Option<f64>, criterion: &str) -> Self {
        Self { epoch, top1, criterion: criterion.to_owned() }
    }
}

/// The outcome of one run. Accuracies and agreement are in % (0 to 100); what was not measured is null, never a guess.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this layout.
    pub schema: u32,
    /// Such as `cifar100-w4a8`.
    pub experiment: String,
    /// Such as `zeroq-kd`.
    pub method: String,
    /// The one seed.
    pub seed: u64,
    /// The teacher's name in the catalogue.
    pub teacher: String,
    /// SHA-256 of its state, where it was read from run.json; the summary itself does not have it.
    #[serde(skip)]
    pub teacher_sha256: Option<String>,
    /// Its architecture, such as `resnet20`.
    pub network: String,
    /// The test set's name.
    pub dataset: String,
    /// `gdfq` or `brecq`; the two are never compared.
    pub protocol: String,
    /// Such as `W4A8`.
    pub bits: String,
    /// Whether any image of a real data set was used for calibration or fitting.
    pub uses_real_data: bool,
    /// Whether a real test set was at hand.
    pub accuracy_measured: bool,
    /// Why not, and how to get it, where it was not.
    pub accuracy_note: Option<String>,
    /// Full-precision top-1.
    pub fp_top1: Option<f64>,
    /// Full-precision top-5.
    pub fp_top5: Option<f64>,
    /// Student top-1 at the end: the result.
    pub student_top1: Option<f64>,
    /// Student top-5 at the end.
    pub student_top5: Option<f64>,
    /// `fp_top1 - student_top1`.
    pub drop: Option<f64>,
    /// The best epoch by test accuracy: recorded apart.
    pub best_on_test: Option<Best>,
    /// The best epoch by a criterion that needs no data.
    pub best_by_synthetic: Option<Best>,
    /// Share of images on which student and teacher choose one class.
    pub agreement: Option<f64>,
    /// Mean squared difference of their logits.
    pub logit_mse: Option<f64>,
    /// Mean squared error of the quantized weights against the teacher's before training, all layers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_mse: Option<f64>,
    /// Bits that a quantized weight takes when stored, the constants of its group included, averaged over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bits_mean: Option<f64>,
    /// Size of all parameters when stored: quantized weights packed with their scales, the rest in 32 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Images that agreement and logit MSE were measured on, such as `test set` or `held-out synthetic`.
    pub measured_on: Option<String>,
    /// Images that went through a network.
    pub image_passes: Option<u64>,
    /// Seconds over all phases and lives.
    pub wall_seconds: f64,
    /// Those of them that the images took when they were made, whether for this run or for an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_seconds: Option<f64>,
}

impl Summary {
    /// Sets both accuracies and their difference.
    pub fn with_accuracy(mut self, fp: [f64; 2], student: [f64; 2]) -> Self {
        self.accuracy_measured = true;
        self.accuracy_note = None;
        ([self.fp_top1, self.fp_top5], [self.student_top1, self.student_top5]) = (fp.map(Some), student.map(Some));
        self.drop = Some(fp[0] - student[0]);
        self
    }

    /// Says why there is no accuracy.
    pub fn without_accuracy(mut self, note: impl Into<String>) -> Self {
        self.accuracy_measured = false;
        self.accuracy_note = Some(note.into());
        (self.fp_top1, self.fp_top5, self.student_top1, self.student_top5, self.drop) = (None, None, None, None, None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_null() {
        let summary = Summary::default().with_accuracy([91.73, 99.7], [90.5, 99.5]);
        assert!((summary.drop.unwrap() - 1.23).abs() < 1e-12);
        let summary = summary.without_accuracy("no CIFAR-10 here: blindfold data fetch cifar10");
        let json = serde_json::to_value(&summary).unwrap();
        for key in ["fp_top1", "student_top1", "drop", "best_on_test", "agreement", "image_passes"] {
            assert!(json[key].is_null(), "{key}");
        }
        assert_eq!(json["accuracy_measured"], false);
        assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
    }
}
