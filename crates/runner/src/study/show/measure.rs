//! What the tables of a study show.

use crate::record::{Stat, Summary, count, duration};

/// Which direction is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// With so many digits after the point.
    Fixed(usize),
    /// As `1.34e-4`.
    Scientific,
    /// As `32.1 k`.
    Count,
    /// As `3 min 20 s`.
    Duration,
}

/// A figure of a finished run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// As columns of CSV are called.
    pub(crate) key: &'static str,
    /// In full.
    pub(crate) title: &'static str,
    /// The head of a column.
    pub(crate) head: &'static str,
    /// None where a difference is no merit of the method: costs.
    pub(crate) better: Option<Better>,
    pub(crate) form: Form,
    pub(crate) of: fn(&Summary) -> Option<f64>,
}

/// What the method loses: the figure that is compared with papers.
pub(crate) const DROP: Measure = Measure {
    key: "drop",
    title: "Drop of top-1 against full precision after the last epoch, points",
    head: "drop",
    better: Some(Better::Lower),
    form: Form::Fixed(2),
    of: |run| run.drop,
};
/// What the student reaches after its last epoch: the result.
pub(crate) const TOP1: Measure = Measure {
    key: "final_top1",
    title: "Top-1 after the last epoch, %",
    head: "final top-1",
    better: Some(Better::Higher),
    form: Form::Fixed(2),
    of: |run| run.student_top1,
};
/// What it reaches in its best epoch, chosen on the test set.
pub(crate) const BEST: Measure = Measure {
    key: "best_on_test_top1",
    title: "Top-1 in the epoch that was best on the test set‡, %",
    head: "best-on-test top-1‡",
    better: Some(Better::Higher),
    form: Form::Fixed(2),
    of: |run| run.best_on_test.as_ref().and_then(|best| best.top1),
};
/// How often student and teacher agree.
pub(crate) const AGREEMENT: Measure = Measure {
    key: "agreement",
    title: "Agreement with the teacher on held-out synthetic images, %",
    head: "agreement",
    better: Some(Better::Higher),
    form: Form::Fixed(1),
    of: |run| run.agreement,
};
/// What all parameters take when stored.
pub(crate) const SIZE: Measure = Measure {
    key: "size_kib",
    title: "Size of all parameters when stored, scales included, KiB",
    head: "KiB",
    better: None,
    form: Form::Fixed(1),
    of: |run| run.size_bytes.map(|bytes| bytes as f64 / 1024.0),
};
/// Cost that no machine changes.
pub(crate) const PASSES: Measure = Measure {
    key: "image_passes",
    title: "Images that went through a network",
    head: "image passes",
    better: None,
    form: Form::Count,
    of: |run| run.image_passes.map(|passes| passes as f64),
};
/// Cost on the machine of the run.
pub(crate) const SECONDS: Measure = Measure {
    key: "wall_seconds",
    title: "Time on the machine of the run, images included where they were made for it",
    head: "time",
    better: None,
    form: Form::Duration,
    of: |run| Some(run.wall_seconds),
};

/// What quantizing and training cost of it: images are shared between methods.
const OWN_SECONDS: Measure = Measure {
    key: "seconds_without_images",
    title: "Time on the machine of the run, images apart",
    head: "time without images",
    better: None,
    form: Form::Duration,
    of: |run| Some((run.wall_seconds - run.image_seconds?).max(0.0)),
};

/// All of them, in the order of the page.
pub(crate) static MEASURES: [Measure; 10] = [
    DROP,
    TOP1,
    BEST,
    AGREEMENT,
    Measure {
        key: "weight_mse",
        title: "Mean squared error of the quantized weights before training, all layers together",
        head: "weight MSE",
        better: Some(Better::Lower),
        form: Form::Scientific,
        of: |run| run.weight_mse,
    },
    Measure {
        key: "logit_mse",
        title: "Mean squared error of the logits on held-out synthetic images",
        head: "logit MSE",
        better: Some(Better::Lower),
        form: Form::Fixed(3),
        of: |run| run.logit_mse,
    },
    SIZE,
    PASSES,
    SECONDS,
    OWN_SECONDS,
];

impl Measure {
    /// Mean and deviation; of costs the mean alone.
    pub(crate) fn text(&self, stat: &Stat) -> String {
        match self.form {
            Form::Fixed(digits) if self.better.is_some() => stat.text(digits),
            Form::Fixed(digits) => format!("{:.digits$}", stat.mean),
            Form::Scientific => match stat.std {
                Some(0.0) => format!("{:.2e} ± 0", stat.mean),
                Some(std) => format!("{:.2e} ± {std:.1e}", stat.mean),
                None => format!("{:.2e}", stat.mean),
            },
            Form::Count => count(stat.mean),
            Form::Duration => duration(stat.mean),
        }
    }

    /// Whether `a` is better than `b`; false for costs.
    pub(crate) fn prefers(&self, a: f64, b: f64) -> bool {
        match self.better {
            Some(Better::Lower) => a < b,
            Some(Better::Higher) => a > b,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_their_kind() {
        let (one, three) = (Stat::of([1.5e-4]).unwrap(), Stat::of([90.0, 91.0, 93.5]).unwrap());
        let weight = MEASURES.iter().find(|measure| measure.key == "weight_mse").unwrap();
        assert_eq!((weight.text(&one), DROP.text(&three)), ("1.50e-4".to_owned(), "91.50 ± 1.80".to_owned()));
        assert_eq!((SIZE.text(&three), SECONDS.text(&three)), ("91.5".to_owned(), "1 min 32 s".to_owned()));
        assert_eq!(weight.text(&Stat::of([1.3e-4; 3]).unwrap()), "1.30e-4 ± 0");
        assert!(weight.text(&Stat::of([1e-4, 3e-4]).unwrap()).starts_with("2.00e-4 ± 1.4e-4"));
    }

    #[test]
    fn each_has_a_key_of_its_own_and_costs_have_no_better() {
        for (at, measure) in MEASURES.iter().enumerate() {
            assert!(MEASURES[..at].iter().all(|other| other.key != measure.key), "{}", measure.key);
        }
        assert!(DROP.prefers(1.0, 2.0) && TOP1.prefers(2.0, 1.0) && !SECONDS.prefers(1.0, 2.0));
    }
}
