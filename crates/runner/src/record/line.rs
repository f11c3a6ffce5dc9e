//! One line of metrics.jsonl.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::RecordError;
use super::flat;

const RESERVED: [&str; 4] = ["step", "phase", "epoch", "wall"];

/// The part of a run that a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Making images without data.
    Synth,
    /// Finding quantization ranges.
    Calibrate,
    /// Fitting steps: rounding, reconstruction, corrections.
    Fit,
    /// Training the student to follow its teacher.
    Distill,
    /// Measuring on a test set.
    Eval,
    /// Training a teacher on real data.
    Teacher,
}

impl Phase {
    const ALL: [Self; 6] = [Self::Synth, Self::Calibrate, Self::Fit, Self::Distill, Self::Eval, Self::Teacher];

    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synth => "synth",
            Self::Calibrate => "calibrate",
            Self::Fit => "fit",
            Self::Distill => "distill",
            Self::Eval => "eval",
            Self::Teacher => "teacher",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.name() == text)
            .ok_or_else(|| format!("phase `{text}`: one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Some metrics at one step: `{"step":200,"phase":"distill","epoch":1,"wall":12.3,"loss/kl":0.71}`.
///
/// Tags are written in alphabetical order, numbers so that they read back bit for bit. JSON has no NaN and no infinity: both
/// are written as null and read back as NaN. Time stands in `wall` and under `perf/` and nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Counts within the phase, from 0.
    pub step: u64,
    /// The part of the run.
    pub phase: Phase,
    /// Where the phase has epochs.
    pub epoch: Option<u64>,
    /// Seconds since the run began, pauses excluded.
    pub wall: f64,
    /// Metric by tag; see [`GLOSSARY`](super::GLOSSARY).
    pub values: BTreeMap<String, f64>,
}

impl Record {
    /// A record without metrics yet.
    pub fn new(phase: Phase, step: u64, wall: f64) -> Self {
        Self { step, phase, epoch: None, wall, values: BTreeMap::new() }
    }

    /// The same record, of this epoch.
    pub fn at_epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The same record with one metric more.
    pub fn with(mut self, tag: impl Into<String>, value: f64) -> Self {
        self.values.insert(tag.into(), value);
        self
    }

    /// The same record with several metrics more.
    pub fn with_all<T: Into<String>>(mut self, pairs: impl IntoIterator<Item = (T, f64)>) -> Self {
        self.values.extend(pairs.into_iter().map(|(tag, value)| (tag.into(), value)));
        self
    }

    /// Tags whose value is NaN or infinite.
    pub fn not_finite(&self) -> Vec<String> {
        self.values.iter().filter(|(_, value)| !value.is_finite()).map(|(tag, _)| tag.clone()).collect()
    }

    /// Without time: `wall` zeroed, `perf/` left out. Two runs of one seed agree in this.
    pub fn timeless(&self) -> Self {
        let values = self.values.iter().filter(|(tag, _)| !tag.starts_with("perf/")).map(|(k, v)| (k.clone(), *v));
        Self { wall: 0.0, values: values.collect(), ..self.clone() }
    }

    /// The record as one line of JSON, without its newline.
    ///
    /// # Errors
    /// [`RecordError::ReservedTag`] when a tag is one of the record's own keys.
    pub fn to_line(&self) -> Result<String, RecordError> {
        let mut line = format!("{{\"step\":{},\"phase\":\"{}\"", self.step, self.phase);
        if let Some(epoch) = self.epoch {
            line += &format!(",\"epoch\":{epoch}");
        }
        line += &format!(",\"wall\":{}", number(self.wall));
        for (tag, value) in &self.values {
            if RESERVED.contains(&tag.as_str()) {
                return Err(RecordError::ReservedTag { tag: tag.clone() });
            }
            line += &format!(",{}:{}", serde_json::Value::from(tag.as_str()), number(*value));
        }
        line.push('}');
        Ok(line)
    }

    /// Reads what [`Self::to_line`] wrote.
    ///
    /// # Errors
    /// What is wrong with the line, in words.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let (mut step, mut phase, mut epoch, mut wall) = (None, None, None, None);
        let mut values = BTreeMap::new();
        for (key, value) in flat::parse(line)? {
            let wrong = || format!("`{key}` has the wrong type");
            match key.as_str() {
                "step" => step = Some(value.as_u64().ok_or_else(wrong)?),
                "epoch" => epoch = Some(value.as_u64().ok_or_else(wrong)?),
                "wall" => wall = Some(value.as_f64().ok_or_else(wrong)?),
                "phase" => match value {
                    flat::Scalar::Text(name) => phase = Some(name.parse()?),
                    _ => return Err(wrong()),
                },
                _ => {
                    let value = value.as_f64().ok_or_else(wrong)?;
                    values.insert(key, value);
                }
            }
        }
        let missing = |key: &str| format!("`{key}` is missing");
        Ok(Self {
            step: step.ok_or_else(|| missing("step"))?,
            phase: phase.ok_or_else(|| missing("phase"))?,
            epoch,
            wall: wall.ok_or_else(|| missing("wall"))?,
            values,
        })
    }
}

/// The shortest digits that read back to the same bits; null for NaN and infinity.
fn number(value: f64) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_line() {
        let record = Record::new(Phase::Distill, 200, 12.5).at_epoch(1).with("loss/total", 1.0).with("loss/kl", 0.71);
        let line = r#"{"step":200,"phase":"distill","epoch":1,"wall":12.5,"loss/kl":0.71,"loss/total":1.0}"#;
        assert_eq!(record.to_line().unwrap(), line);
        assert_eq!(Record::from_line(line).unwrap(), record);
    }

    #[test]
    fn numbers_read_back_to_the_same_bits() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut numbers = vec![0.1 + 0.2, -0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e23, 8.41e21, f64::from(0.1_f32)];
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let any = f64::from_bits(state);
            numbers.extend([any, (state >> 11) as f64 / (1_u64 << 53) as f64].into_iter().filter(|x| x.is_finite()));
        }
        for value in numbers {
            let line = Record::new(Phase::Synth, 0, 0.0).with("x", value).to_line().unwrap();
            assert_eq!(Record::from_line(&line).unwrap().values["x"].to_bits(), value.to_bits(), "{line}");
            let standard: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(standard["x"].is_f64());
        }
    }

    #[test]
    fn what_json_cannot_say_becomes_null() {
        let record = Record::new(Phase::Synth, 3, 0.0).with("a", f64::NAN).with("b", f64::INFINITY).with("c", 1.0);
        assert_eq!(record.not_finite(), ["a", "b"]);
        let line = record.to_line().unwrap();
        assert!(line.ends_with(r#""a":null,"b":null,"c":1.0}"#), "{line}");
        assert!(Record::from_line(&line).unwrap().values["b"].is_nan());
    }

    #[test]
    fn odd_tags_survive_and_reserved_ones_do_not() {
        let odd = Record::new(Phase::Eval, 0, 0.0).with("quant/\"é\\\n/mse", 2.0);
        assert_eq!(Record::from_line(&odd.to_line().unwrap()).unwrap(), odd);
        assert!(matches!(
            Record::new(Phase::Eval, 0, 0.0).with("wall", 1.0).to_line(),
            Err(RecordError::ReservedTag { .. })
        ));
    }

    #[test]
    fn time_is_left_out_of_comparisons() {
        let slow = Record::new(Phase::Eval, 1, 9.0).with("eval/top1", 91.0).with("perf/images_per_s", 10.0);
        let quick = Record::new(Phase::Eval, 1, 1.0).with("eval/top1", 91.0).with("perf/images_per_s", 90.0);
        assert_ne!(slow, quick);
        assert_eq!(slow.timeless(), quick.timeless());
    }
}
