//! How far linear layers stretch a ball.

use super::linear_map::Geometry;
use super::spectral::{Norms, OUTWARD};

/// A ball after a linear layer: what the channel vectors and the single elements can be away from the image of the
/// centre.
#[derive(Debug)]
pub(super) struct Stretched {
    /// By position.
    pub(super) radius: Vec<f64>,
    /// By element.
    pub(super) reach: Vec<f64>,
}

/// The image of balls of these radii around any centre, without rounding.
///
/// With `W_u` the matrix (output by input channels) at the kernel place `u`, `r(p)` the radius at position `p`, and
/// `x(p)` a channel vector's distance from the centre:
///
/// ```text
/// y(q)   = sum_u W_u x(q + u)
/// |y(q)| <= min(sum_u |W_u|_2 r(q + u), |[W_u]_u|_2 sqrt(sum_u r(q + u)^2))
/// |y_i(q)| <= sum_u |w_iu|_2 r(q + u)
/// ```
/// Propagated element by element, a layer stretches by its largest row sum of absolute values, which grows with the
/// number of channels; this grows with its root, as no input makes all outputs extreme at once.
///
/// # Shapes
/// - radius: `[height, width]` of the input; results as the output
///
/// # Source
/// Operator norms as Lipschitz constants of layers: Szegedy et al., Intriguing Properties of Neural Networks, ICLR
/// 2014, 4.3.
///
/// # Differences from the source
/// There one number bounds a whole layer. Here every position has a ball of its own, so that what is local stays local.
pub(super) fn stretched(geometry: Geometry, norms: &Norms, radius: &[f64], shape: [usize; 3]) -> Stretched {
    let plane = [1, shape[1], shape[2]];
    let single = geometry.with_channels(1, 1);
    let by_taps = single.correlate(&norms.taps, radius, plane);
    let squares: Vec<f64> = radius.iter().map(|radius| radius * radius).collect();
    let around = single.correlate(&vec![1.0; geometry.taps()], &squares, plane);
    let radii = by_taps.iter().zip(&around).map(|(by_taps, around)| by_taps.min(norms.whole * around.sqrt()) * OUTWARD);
    let mut reach = geometry.with_channels(geometry.out, 1).correlate(&norms.rows, radius, plane);
    reach.iter_mut().for_each(|reach| *reach *= OUTWARD);
    Stretched { radius: radii.collect(), reach }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::enclosure::column_norms;
    use super::super::linear_map::LinearMap;
    use super::*;

    #[test]
    fn nothing_within_the_balls_leaves_their_image() {
        let mut random = blindfold_zoo::stream(3, "balls");
        for (groups, stride) in [(1, 1), (2, 2)] {
            let geometry =
                Geometry { out: 6, group_in: 4 / groups, groups, kernel: [3, 3], stride: [stride; 2], padding: [1; 2] };
            let shape = [4, 5, 5];
            let weight: Vec<f64> = (0..6 * geometry.terms()).map(|_| random.random::<f64>() - 0.5).collect();
            let map = LinearMap::new(geometry, weight, vec![0.0; 6]);
            let radius: Vec<f64> = (0..25).map(|_| random.random::<f64>()).collect();
            let bound = stretched(geometry, &Norms::of(&map), &radius, shape);
            let [_, rows, columns] = geometry.output(shape);
            assert_eq!((bound.radius.len(), bound.reach.len()), (rows * columns, 6 * rows * columns));
            let mut closest = 0.0f64;
            for _ in 0..200 {
                let mut x: Vec<f64> = (0..100).map(|_| random.random::<f64>() - 0.5).collect();
                let norms = column_norms(&x, 25);
                for (index, x) in x.iter_mut().enumerate() {
                    *x *= radius[index % 25] / norms[index % 25];
                }
                let y = geometry.correlate(&map.weight, &x, shape);
                for (norm, bound) in column_norms(&y, rows * columns).iter().zip(&bound.radius) {
                    assert!(*norm <= bound * (1.0 + 1e-6), "{norm} {bound}");
                    closest = closest.max(norm / bound);
                }
                assert!(y.iter().zip(&bound.reach).all(|(y, reach)| y.abs() <= *reach));
            }
            assert!(closest > 0.3, "{closest}");
        }
    }

    #[test]
    fn a_rotation_keeps_the_ball_that_an_interval_would_let_grow() {
        // A quarter of a right angle: rows of absolute sum cos + sin = 1.3, and norm 1.
        let (sin, cos) = (std::f64::consts::FRAC_PI_8).sin_cos();
        let map = LinearMap::new(Geometry::dense(2, 2), vec![cos, -sin, sin, cos], vec![0.0; 2]);
        let bound = stretched(map.geometry, &Norms::of(&map), &[1.0], [2, 1, 1]);
        assert!((bound.radius[0] - 1.0).abs() < 0.03 && (bound.reach[0] - 1.0).abs() < 1e-6, "{bound:?}");
    }
}
