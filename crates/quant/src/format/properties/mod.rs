//! What holds for every number format, on tensors that chance makes.

mod case;
mod chance;
mod codes;
mod promise;
mod subject;

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use proptest::{prop_assert, prop_assert_eq};

use case::{Case, GROUPS, SHAPE, VALUES, fit};
use chance::{for_all, for_all_fits};
use codes::codes;
use promise::{PROMISES, TABLES};
use subject::Subject;

use super::BUILTIN;
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::{Samples, host_values};

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_name_of_the_promises_is_a_format() {
    let names: BTreeSet<&str> = BUILTIN.iter().map(|entry| entry.name).collect();
    for promise in PROMISES.iter().chain(TABLES.iter().map(|(_, promise)| promise)) {
        assert!(names.contains(promise.name), "{} is not in the table of formats", promise.name);
    }
}

#[test]
fn decoded_codes_are_the_fake_quantized_values_to_the_bit_and_finite() {
    for_all_fits(|case| {
        let (probes, shape) = case.probes();
        let output = case.codec.fake_quantize_values(&probes, shape).unwrap();
        let codes = case.codec.encode(&probes, shape).unwrap();
        let decoded = case.codec.decode(&codes, shape).unwrap();
        prop_assert!(output.iter().all(|y| y.is_finite()), "{output:?}");
        prop_assert_eq!(bits_of(&decoded), bits_of(&output));
        Ok(())
    });
}

#[test]
fn quantizing_twice_is_quantizing_once() {
    for_all_fits(|case| {
        for (group, pairs) in case.pairs().into_iter().enumerate() {
            let once: Vec<f32> = pairs.iter().map(|pair| pair.1).collect();
            let inputs = once.repeat(case.groups());
            let shape = [case.groups(), once.len(), 1, 1];
            let twice = case.codec.fake_quantize_values(&inputs, shape).unwrap();
            let twice = &twice[group * once.len()..][..once.len()];
            let slack = case.slack(&pairs);
            for (a, b) in once.iter().zip(twice) {
                prop_assert!((a - b).abs() <= slack, "{a} became {b}");
            }
        }
        Ok(())
    });
}

#[test]
fn the_order_of_values_is_kept() {
    for_all_fits(|case| {
        for pairs in case.pairs() {
            let slack = case.slack(&pairs);
            for two in pairs.windows(2) {
                prop_assert!(two[1].1 >= two[0].1 - slack, "{:?} comes before {:?}", two[0], two[1]);
            }
        }
        Ok(())
    });
}

#[test]
fn within_the_levels_the_error_is_at_most_half_the_gap_around_the_value() {
    for_all_fits(|case| {
        // A sum rounds its first term without a look at what the others can make up for.
        let share = if matches!(case.codec, Codec::Sum(_)) { 1.0 } else { 0.5 };
        for (group, pairs) in case.pairs().into_iter().enumerate() {
            let Some(levels) = case.codec.levels_of(group) else { continue };
            let slack = 1e-6 * levels.iter().fold(0.0f32, |largest, level| largest.max(level.abs()));
            for (x, y) in pairs {
                let above = levels.partition_point(|&level| level < x);
                if above > 0 && above < levels.len() {
                    let gap = levels[above] - levels[above - 1];
                    prop_assert!((x - y).abs() <= share * gap + slack, "{x} became {y}, the gap there is {gap}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn beyond_the_outermost_level_a_value_takes_it() {
    for_all_fits(|case| {
        for (group, pairs) in case.pairs().into_iter().enumerate() {
            let Some(levels) = case.codec.levels_of(group) else { continue };
            let (lowest, highest, slack) = (levels[0], levels[levels.len() - 1], case.slack(&pairs));
            for (x, y) in pairs {
                if x <= lowest || x >= highest {
                    let outermost = if x <= lowest { lowest } else { highest };
                    prop_assert!((y - outermost).abs() <= slack, "{x} became {y} and not {outermost}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn nan_stays_nan_whatever_the_codec_and_changes_no_other_value() {
    let values: Vec<f32> = (0..VALUES).map(|index| (index as f32 * 0.7).sin()).collect();
    let with_nan: Vec<f32> =
        values.iter().enumerate().map(|(index, &x)| if index % 5 == 2 { f32::NAN } else { x }).collect();
    for subject in Subject::all() {
        for per_channel in [false, true] {
            let case = Case::new(&subject, values.clone(), 0, per_channel);
            let shape = if per_channel { SHAPE } else { [1, VALUES, 1, 1] };
            let plain = case.codec.fake_quantize_values(&values, shape).unwrap();
            let on_host = case.codec.fake_quantize_values(&with_nan, shape).unwrap();
            let tensor = Tensor::<4>::from_data(TensorData::new(with_nan.clone(), shape), &Device::flex());
            for found in [on_host, host_values(case.codec.fake_quantize(tensor))] {
                for (index, (found, plain)) in found.into_iter().zip(&plain).enumerate() {
                    let kept = if index % 5 == 2 { found.is_nan() } else { found == *plain };
                    assert!(kept, "{} {per_channel}: {index} became {found}", subject.what());
                }
            }
        }
    }
}

#[test]
fn codes_and_distinct_values_fit_into_the_bits() {
    for_all_fits(|case| {
        let (probes, shape) = case.probes();
        let all = case.codec.encode(&probes, shape).unwrap();
        let terms = match &case.codec {
            Codec::Sum(terms) => terms.as_slice(),
            single => std::slice::from_ref(single),
        };
        prop_assert_eq!(all.len(), terms.len() * probes.len());
        for (term, all) in terms.iter().zip(all.chunks_exact(probes.len())) {
            for (index, code) in all.iter().enumerate() {
                let (low, high) = codes(term, index / shape[1]);
                prop_assert!((low..=high).contains(code), "code {code} of {low} to {high}");
                prop_assert!(high - low < 1 << term.bits());
            }
        }
        prop_assert_eq!(usize::from(case.codec.bits()), terms.len() * usize::from(case.bits));
        for pairs in case.pairs() {
            let distinct: BTreeSet<u32> = pairs.iter().map(|pair| (pair.1 + 0.0).to_bits()).collect();
            prop_assert!(distinct.len() <= case.codec.levels() && case.codec.levels() <= 1 << case.codec.bits());
        }
        Ok(())
    });
}

#[test]
fn zero_is_exact_where_it_is_promised() {
    for_all_fits(|case| {
        if case.promise.zero {
            let zeros = vec![0.0f32; case.groups()];
            let output = case.codec.fake_quantize_values(&zeros, [case.groups(), 1, 1, 1]).unwrap();
            prop_assert_eq!(output, zeros);
        }
        Ok(())
    });
}

#[test]
fn negation_commutes_where_it_is_promised() {
    for_all_fits(|case| {
        if !case.promise.symmetric {
            return Ok(());
        }
        let negate = |values: &[f32]| values.iter().map(|x| -x).collect::<Vec<f32>>();
        let mirrored = fit(case.format.as_ref(), &negate(&case.values), case.bits, case.axis);
        let (probes, shape) = case.probes();
        let here = case.codec.fake_quantize_values(&probes, shape).unwrap();
        let there = negate(&mirrored.fake_quantize_values(&negate(&probes), shape).unwrap());
        for ((x, a), b) in probes.into_iter().zip(here).zip(there) {
            let distance = |y: f32| (f64::from(x) - f64::from(y)).abs();
            let halfway = (distance(a) - distance(b)).abs() <= 1e-6 * f64::from(x.abs());
            prop_assert!(a == b || halfway, "{x} became {a}, and {b} by way of its negative");
        }
        Ok(())
    });
}

#[test]
fn a_constant_keeps_its_value_where_it_is_promised_and_zeros_stay_zeros_everywhere() {
    let constant = (-3.0f32..3.0, proptest::bool::ANY, 0u8..=255, proptest::bool::ANY);
    for_all(constant, |subject, (exponent, negative, width, per_channel)| {
        let constant = 10f32.powf(exponent) * if negative { -1.0 } else { 1.0 };
        let case = Case::new(subject, vec![constant; VALUES], width, per_channel);
        let shape = if per_channel { SHAPE } else { [1, VALUES, 1, 1] };
        let output = case.codec.fake_quantize_values(&case.values, shape).unwrap();
        let kept = output.iter().all(|y| (y - constant).abs() <= 1e-6 * constant.abs());
        prop_assert!(kept || !case.promise.constant, "{constant} became {}", output[0]);
        let case = Case::new(subject, vec![0.0; VALUES], width, per_channel);
        let output = case.codec.fake_quantize_values(&case.values, shape).unwrap();
        prop_assert!(output.iter().all(|&y| y == 0.0), "zero became {}", output[0]);
        Ok(())
    });
}

#[test]
fn the_largest_and_smallest_numbers_give_finite_values_or_an_error() {
    for entry in BUILTIN {
        let format = (entry.build)(toml::Table::new()).unwrap();
        for values in [
            vec![f32::MAX, f32::MIN, 1.0, 0.0],
            vec![f32::MAX; 4],
            vec![1e-40, -3e-45, 0.0, 1e-38],
            vec![f32::MIN_POSITIVE, f32::MAX, -1e-45, 1e-20],
        ] {
            for bits in format.widths() {
                match format.fit(&Samples::new(values.clone(), 1).unwrap(), bits, None) {
                    Ok(codec) => {
                        let output = codec.fake_quantize_values(&values, [1, 4, 1, 1]).unwrap();
                        assert!(output.iter().all(|y| y.is_finite()), "{} {bits}: {values:?} {output:?}", entry.name);
                    }
                    Err(error) => {
                        let clear = matches!(error, QuantError::Range { .. } | QuantError::Grid(_));
                        assert!(clear, "{} {bits}: {error}", entry.name);
                    }
                }
            }
        }
    }
}

#[test]
fn values_that_are_not_numbers_never_reach_a_format() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in 0..VALUES {
            let mut values = vec![0.5; VALUES];
            values[place] = bad;
            let error = Samples::new(values, GROUPS).unwrap_err();
            assert!(matches!(error, QuantError::NotFinite { index, count: VALUES, .. } if index == place), "{error}");
        }
    }
    assert!(matches!(Samples::new(Vec::new(), 1), Err(QuantError::Empty)));
}

#[test]
fn widths_that_a_format_does_not_have_are_errors() {
    let samples = Samples::new(vec![1.0, -0.5], 1).unwrap();
    for entry in BUILTIN {
        let format = (entry.build)(toml::Table::new()).unwrap();
        for bits in (0..=17).filter(|bits| !format.widths().contains(bits)) {
            let error = format.fit(&samples, bits, None).unwrap_err();
            assert!(matches!(error, QuantError::Bits(found) if found == bits), "{} {bits}: {error}", entry.name);
        }
    }
}
