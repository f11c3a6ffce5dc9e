use rand::RngExt;

use super::*;

fn dense(weight: [f64; 4], bias: [f64; 2]) -> LinearMap {
    LinearMap::new(Geometry::dense(2, 2), weight.to_vec(), bias.to_vec())
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
    }
}

#[test]
fn one_linear_layer_reaches_its_bounds_in_corners() {
    // x in [-1, 2] x [0, 3]. W x + b: 2 x0 - x1 + 1 in [-4, 5], x0 + x1 in [-1, 5].
    // Change: 0.5 x0 + 0.25 x1 - 1 in [-1.5, 0.75], -x1 in [-3, 0].
    let teacher = dense([2.0, -1.0, 1.0, 1.0], [1.0, 0.0]);
    let student = dense([2.5, -0.75, 1.0, 0.0], [0.0, 0.0]);
    let input = Triple::input([2, 1, 1], vec![-1.0, 0.0], vec![2.0, 3.0]);
    let maps = Maps::new(teacher, student);
    let output = input.through(&maps, None);
    close(&output.teacher.low, &[-4.0, -1.0]);
    close(&output.teacher.high, &[5.0, 5.0]);
    close(&output.difference.low, &[-1.5, -3.0]);
    close(&output.difference.high, &[0.75, 0.0]);
    let tighter = input.with_balls().through(&maps, Some(&maps.norms())).meet(&output);
    assert!(tighter.difference.low.iter().zip(&output.difference.low).all(|(tight, wide)| tight >= wide));
    assert!(tighter.difference.norms().unwrap()[0] <= (1.5f64.powi(2) + 9.0).sqrt() + 1e-5);
}

#[test]
fn equal_layers_on_equal_inputs_differ_in_nothing() {
    let maps = Maps::new(dense([2.0, -1.0, 1.0, 1.0], [1.0, 0.0]), dense([2.0, -1.0, 1.0, 1.0], [1.0, 0.0]));
    let input = Triple::input([2, 1, 1], vec![-1.0, 0.0], vec![2.0, 3.0]).with_balls();
    let output = input.through(&maps, Some(&maps.norms()));
    let sum = Triple::sum(&[&output, &output]).clamped(0.0, 6.0);
    assert!(output.difference.is_zero() && sum.difference.is_zero());
    assert_eq!(sum.difference.norms().unwrap(), [0.0]);
}

#[test]
fn differences_of_clamped_values_stay_within_their_bounds() {
    let mut random = blindfold_zoo::stream(7, "clamps");
    let mut pair = |size: f64| {
        let ends = [0, 1].map(|_| size * (random.random::<f64>() - 0.5));
        [ends[0].min(ends[1]), ends[0].max(ends[1])]
    };
    let mut seen = 0;
    for round in 0..4000 {
        let range = [0.0, [6.0, 2.0, f64::INFINITY][round % 3]];
        let (s, t, d) = (pair(12.0), pair(12.0), pair(8.0));
        let found = clamped_difference(d, s, t, range);
        for step in 0..=200 {
            let (a, b) = (f64::from(step % 15) / 14.0, f64::from(step / 15) / 13.0);
            let (s, d) = (s[0] + a * (s[1] - s[0]), d[0] + b * (d[1] - d[0]));
            let other = s - d;
            if other < t[0] || other > t[1] {
                continue;
            }
            seen += 1;
            let g = |x: f64| x.max(range[0]).min(range[1]);
            let difference = g(s) - g(other);
            assert!(difference >= found[0] - 1e-12 && difference <= found[1] + 1e-12, "{s} {other} {found:?}");
        }
    }
    assert!(seen > 10_000, "{seen}");
    // 1 apart, and both in the clamp's open range: still 1 apart.
    let apart = clamped_difference([1.0, 1.0], [2.0, 3.0], [1.0, 2.0], [0.0, 6.0])[0];
    assert!((apart - 1.0).abs() < 1e-12);
}

#[test]
fn maxima_differ_by_no_more_than_their_inputs() {
    let low: Vec<f64> = (0..16).map(|index| f64::from(index % 5) - 2.0).collect();
    let high: Vec<f64> = low.iter().map(|low| low + 0.5).collect();
    let mut input = Triple::input([1, 4, 4], low, high);
    input.difference = Enclosure::between([1, 4, 4], vec![-0.25; 16], vec![0.125; 16]);
    let output = input.max_pooled(3, 2, 1);
    assert_eq!(output.teacher.shape, [1, 2, 2]);
    // Rows of index % 5: 0 1 2 3 | 4 0 1 2 | 3 4 0 1 | 2 3 4 0; windows of rows 0-1, 1-3 and columns 0-1, 1-3.
    close(&output.teacher.low, &[2.0, 1.0, 2.0, 2.0]);
    close(&output.difference.low, &[-0.25; 4]);
    close(&output.difference.high, &[0.125; 4]);
}
