//! Checks on every format and every table, on tensors that chance makes.

use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestCaseResult, TestRng, TestRunner};
use proptest::{collection, prop_oneof};

use super::case::{Case, VALUES};
use super::subject::Subject;

/// Tensors of plain, heavy-tailed, round and zero values, of magnitudes from 1e-3 to 1e3.
fn tensors() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => -1.0f32..1.0,
        2 => (-1.0f32..1.0).prop_map(|x| 30.0 * x.powi(5)),
        1 => (-8i8..=8).prop_map(|x| f32::from(x) / 4.0),
        1 => Just(0.0f32),
    ];
    (collection::vec(value, VALUES), -3i32..=3)
        .prop_map(|(values, exponent)| values.into_iter().map(|x| x * 10f32.powi(exponent)).collect::<Vec<f32>>())
}

/// Runs a check over all formats and their tables; the same cases every time.
pub(super) fn for_all<S: Strategy>(strategy: S, check: impl Fn(&Subject, S::Value) -> TestCaseResult) {
    for subject in Subject::all() {
        let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        if let Err(error) = runner.run(&strategy, |input| check(&subject, input)) {
            panic!("{}: {error}", subject.what());
        }
    }
}

pub(super) fn for_all_fits(check: impl Fn(&Case) -> TestCaseResult) {
    let strategy = (tensors(), 0u8..=255, proptest::bool::ANY);
    for_all(strategy, |subject, (values, width, per_channel)| {
        let case = Case::new(subject, values, width, per_channel);
        let place = |error| match error {
            TestCaseError::Fail(reason) => {
                TestCaseError::fail(format!("{} bits, axis {:?}: {reason}", case.bits, case.axis))
            }
            other => other,
        };
        check(&case).map_err(place)
    });
}
