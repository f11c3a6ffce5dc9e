//! The flex kernels against Burn's own operations, forward and backward.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

use blindfold_zoo::ops::{
    Pointwise, can_scale_gradients, channel_affine, channel_moments, conv2d, leaky_relu, pointwise, scale_gradient,
    sloped, substitute,
};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

fn random<const D: usize>(shape: [usize; D], purpose: &str) -> Tensor<D> {
    let mut random = blindfold_zoo::stream(7, purpose);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape.to_vec()), &Device::flex().autodiff())
}

fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>, what: &str) {
    let difference: f32 = (a.clone() - b).abs().max().into_scalar();
    let size: f32 = a.abs().max().into_scalar();
    assert!(difference <= 2e-5 * size.max(1.0), "{what}: {difference} of {size}");
}

#[test]
fn convolution_and_its_gradients_are_burn_s() {
    // batch, in, out, height, width, kernel, stride, padding, groups
    for case in [
        [2, 3, 16, 32, 32, 3, 1, 1, 1],
        [9, 16, 32, 16, 16, 3, 2, 1, 1],
        [2, 16, 32, 9, 7, 1, 2, 0, 1],
        [3, 8, 6, 7, 9, 5, 1, 2, 1],
        [2, 8, 8, 6, 6, 3, 1, 1, 8],
        [2, 8, 12, 11, 5, 3, 2, 1, 4],
        [2, 5, 7, 13, 13, 4, 3, 2, 1],
        [1, 1, 6, 28, 28, 5, 1, 2, 1],
        [2, 4, 4, 8, 8, 1, 1, 0, 1],
        [2, 2, 3, 5, 5, 5, 1, 0, 1],
        [19, 5, 13, 4, 6, 3, 1, 1, 1],
        [11, 6, 20, 8, 8, 3, 1, 1, 2],
        // these go by Winograd's filtering: whole and broken tiles, all paddings, several strips, groups, broken blocks
        [9, 16, 16, 32, 32, 3, 1, 1, 1],
        [5, 16, 24, 13, 17, 3, 1, 0, 1],
        [3, 8, 11, 7, 5, 3, 1, 2, 1],
        [70, 12, 9, 3, 3, 3, 1, 1, 1],
        [7, 32, 20, 6, 40, 3, 1, 1, 2],
        [2, 8, 8, 90, 70, 3, 1, 1, 1],
        [1, 8, 8, 1, 3, 3, 1, 2, 1],
        [2, 8, 8, 10, 300, 3, 1, 1, 1],
    ] {
        let [batch, from, to, height, width, kernel, stride, padding, groups] = case;
        let x = random([batch, from, height, width], "x").require_grad();
        let weight = random([to, from / groups, kernel, kernel], "weight").require_grad();
        let bias = random([to], "bias").require_grad();
        let ours = conv2d(x.clone(), weight.clone(), Some(bias.clone()), [stride; 2], [padding; 2], groups);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], groups);
        let burn = burn::tensor::module::conv2d(x.clone(), weight.clone(), Some(bias.clone()), options);
        let what = format!("{case:?}");
        close(ours.clone().inner(), burn.clone().inner(), &what);
        let cotangent = random(ours.dims(), "cotangent");
        let ours = (ours * cotangent.clone()).sum().backward();
        let burn = (burn * cotangent).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&burn).unwrap(), &format!("dx {what}"));
        close(weight.grad(&ours).unwrap(), weight.grad(&burn).unwrap(), &format!("dw {what}"));
        close(bias.grad(&ours).unwrap(), bias.grad(&burn).unwrap(), &format!("db {what}"));
    }
}

#[test]
fn winograd_s_filtering_errs_by_less_than_a_millionth_of_the_output_s_deviation() {
    let (channels, size) = (64, 9);
    let x = random([2, channels, size, size], "x").inner();
    let weight = random([channels, channels, 3, 3], "weight").inner();
    let ours: Vec<f32> = conv2d(x.clone(), weight.clone(), None, [1; 2], [1; 2], 1).into_data().try_into_vec().unwrap();
    let (x, weight): (Vec<f32>, Vec<f32>) =
        (x.into_data().try_into_vec().unwrap(), weight.into_data().try_into_vec().unwrap());
    let (mut errors, mut squares) = (0.0, 0.0);
    for (index, value) in ours.iter().enumerate() {
        let (column, row, out, image) =
            (index % size, index / size % size, index / size / size % channels, index / size / size / channels);
        let mut exact = 0.0f64;
        for from in 0..channels {
            for (u, v) in (0..3).flat_map(|u| (0..3).map(move |v| (u, v))) {
                let (h, w) = ((row + u).wrapping_sub(1), (column + v).wrapping_sub(1));
                if h < size && w < size {
                    let pixel = x[((image * channels + from) * size + h) * size + w];
                    exact += f64::from(pixel) * f64::from(weight[((out * channels + from) * 3 + u) * 3 + v]);
                }
            }
        }
        errors += (f64::from(*value) - exact).powi(2);
        squares += exact * exact;
    }
    assert!(errors.sqrt() < 1e-6 * squares.sqrt(), "{}", (errors / squares).sqrt());
    assert!(errors > 0.0);
}

#[test]
fn a_constant_weight_gets_no_gradient_and_does_not_stop_the_input_s() {
    let x = random([2, 3, 8, 8], "x").require_grad();
    let weight = random([4, 3, 3, 3], "weight").inner();
    let gradients = conv2d(x.clone(), weight.clone(), None, [1; 2], [1; 2], 1).sum().backward();
    assert_eq!(x.grad(&gradients).unwrap().dims(), [2, 3, 8, 8]);
}

#[test]
fn a_tensor_in_another_layout_is_read_rightly() {
    let x = random([2, 6, 8, 8], "x").inner().swap_dims(2, 3);
    let weight = random([4, 3, 3, 3], "weight").inner().swap_dims(2, 3);
    let narrow = x.clone().narrow(1, 2, 3);
    let ours = conv2d(narrow.clone(), weight.clone(), None, [1; 2], [1; 2], 1);
    let burn = burn::tensor::module::conv2d(narrow, weight, None, ConvOptions::new([1; 2], [1; 2], [1; 2], 1));
    close(ours, burn, "strided views");
}

#[test]
fn channel_affine_and_its_gradients_are_those_of_plain_operations() {
    let x = random([3, 5, 6, 7], "x").require_grad();
    let (scale, shift) = (random([5], "scale").require_grad(), random([5], "shift").require_grad());
    let ours = channel_affine(x.clone(), scale.clone(), shift.clone());
    let plain = x.clone() * scale.clone().reshape([1, 5, 1, 1]) + shift.clone().reshape([1, 5, 1, 1]);
    close(ours.clone().inner(), plain.clone().inner(), "value");
    let cotangent = random(ours.dims(), "cotangent");
    let ours = (ours * cotangent.clone()).sum().backward();
    let plain = (plain * cotangent).sum().backward();
    close(x.grad(&ours).unwrap(), x.grad(&plain).unwrap(), "dx");
    close(scale.grad(&ours).unwrap(), scale.grad(&plain).unwrap(), "dscale");
    close(shift.grad(&ours).unwrap(), shift.grad(&plain).unwrap(), "dshift");
}

#[test]
fn moments_and_their_gradients_are_those_of_plain_operations() {
    for unbiased in [false, true] {
        let x = random([3, 5, 6, 7], "x").require_grad();
        let ours = channel_moments(x.clone(), unbiased);
        let flat = x.clone().reshape([3, 5, 42]);
        let mean = flat.clone().mean_dim(2);
        let var = (flat - mean.clone()).powi_scalar(2).sum_dim(2) / if unbiased { 41.0 } else { 42.0 };
        let (mean, var) = (mean.reshape([3, 5]), var.reshape([3, 5]));
        close(ours.mean.clone().inner(), mean.clone().inner(), "mean");
        close(ours.var.clone().inner(), var.clone().inner(), "var");
        let (a, b) = (random([3, 5], "a"), random([3, 5], "b"));
        let ours = (ours.mean * a.clone() + ours.var * b.clone()).sum().backward();
        let plain = (mean * a + var * b).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&plain).unwrap(), "dx");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            [4, 9].map(|channels| {
                let x = random([37, channels, 12, 12], "x").require_grad();
                let weight = random([8, channels, 3, 3], "weight").require_grad();
                let y = conv2d(x.clone(), weight.clone(), None, [1; 2], [1; 2], 1);
                let gradients = y.clone().powi_scalar(2).sum().backward();
                [y.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(Tensor::into_data)
            })
        })
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn a_convolution_leaves_nothing_to_the_next_one_of_its_thread() {
    let run = |batch: usize, poison: bool| {
        let x = random([batch, 8, 5, 5], "x");
        let x = if poison { x * f32::NAN } else { x }.require_grad();
        let weight = random([8, 8, 3, 3], "weight").require_grad();
        let y = conv2d(x.clone(), weight.clone(), None, [1; 2], [1; 2], 1);
        let gradients = y.clone().sum().backward();
        [y.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(Tensor::into_data)
    };
    let alone = |poisoned_before: bool| {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
            if poisoned_before {
                assert!(run(64, true)[0].iter::<f32>().all(f32::is_nan));
            }
            run(3, false)
        })
    };
    let clean = alone(false);
    assert!(clean.iter().all(|values| values.iter::<f32>().all(f32::is_finite)));
    assert_eq!(alone(true), clean);
}

#[test]
fn a_substituted_value_has_the_gradient_of_what_it_stands_for() {
    let x = random([2, 3, 4, 5], "x").require_grad();
    let value = random([2, 3, 4, 5], "value").inner();
    let cotangent = random([2, 3, 4, 5], "cotangent");
    let output = substitute(x.clone(), value.clone());
    assert_eq!(output.clone().inner().into_data().as_bytes(), value.into_data().as_bytes());
    let gradients = (output * cotangent.clone()).sum().backward();
    close(x.grad(&gradients).unwrap(), cotangent.inner(), "dx");
}

#[test]
fn given_slopes_make_the_gradients_of_the_sum_of_products_to_the_bit() {
    for shape in [[1, 1, 1, 1], [1, 5, 1, 1], [3, 1, 1, 7]] {
        let (x, step) = (random([3, 5, 6, 7], "x").require_grad(), random(shape, "step").require_grad());
        let [value, slope, step_slope, cotangent] =
            ["value", "slope", "step slope", "cotangent"].map(|purpose| random([3, 5, 6, 7], purpose).inner());
        let output = sloped(value.clone(), [(x.clone(), slope.clone()), (step.clone(), step_slope.clone())]);
        assert_eq!(output.clone().inner().into_data().as_bytes(), value.into_data().as_bytes());
        let ours = (output * cotangent.clone()).sum().backward();
        let plain = ((x.clone() * slope + step.clone() * step_slope) * cotangent).sum().backward();
        for variable in [x, step] {
            let [ours, plain] = [&ours, &plain].map(|gradients| variable.grad(gradients).unwrap().into_data());
            assert_eq!(ours.shape(), plain.shape());
            assert_eq!(ours.as_bytes(), plain.as_bytes());
        }
    }
}

#[test]
fn slopes_of_constants_are_left_out() {
    let x = random([2, 3, 4, 5], "x").require_grad();
    let [constant, value, slope, cotangent] =
        ["constant", "value", "slope", "cotangent"].map(|purpose| random([2, 3, 4, 5], purpose).inner());
    let output = sloped(value.clone(), [(constant.clone(), slope.clone()), (x.clone(), slope.clone())]);
    let gradients = (output * cotangent.clone()).sum().backward();
    close(x.grad(&gradients).unwrap(), cotangent * slope.clone(), "dx");
    assert!(!sloped(value, [(constant.clone(), slope.clone()), (constant, slope)]).is_tracked());
}

#[test]
fn a_scaled_gradient_is_the_formula_and_the_value_stays() {
    assert!(can_scale_gradients(&Device::flex()) && can_scale_gradients(&Device::flex().autodiff()));
    let x = random([2, 3, 4, 5], "x").require_grad();
    let error = random([2, 3, 4, 5], "error").inner();
    let cotangent = random([2, 3, 4, 5], "cotangent").inner();
    let output = scale_gradient(x.clone(), error.clone(), 0.3);
    assert_eq!(output.clone().inner().into_data().as_bytes(), x.clone().inner().into_data().as_bytes());
    let gradients = (output * cotangent.clone()).sum().backward();
    let expected = cotangent.clone() * (cotangent.sign() * error.clone() * 0.3 + 1.0);
    close(x.grad(&gradients).unwrap(), expected, "dx");
    let plain = x.inner();
    let same = scale_gradient(plain.clone(), error, 0.3);
    assert_eq!(same.into_data().as_bytes(), plain.into_data().as_bytes());
}

/// `y = s x^2 + c x`, with the [`coefficient`] `c` of the value's place.
#[derive(Debug)]
struct Parabola;

/// From -1 to 1. The period divides no power of two, so that runs of values do not begin alike.
fn coefficient(place: usize) -> f32 {
    (place % 1009) as f32 / 504.0 - 1.0
}

impl Pointwise for Parabola {
    fn values(&self, first: usize, x: &[f32], s: f32, y: &mut [f32]) {
        for (index, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = s * x * x + coefficient(first + index) * x;
        }
    }

    fn gradients(&self, first: usize, x: &[f32], s: f32, g: &[f32], dx: &mut [f32]) -> f64 {
        let mut sum = 0.0;
        for (index, ((dx, &x), &g)) in dx.iter_mut().zip(x).zip(g).enumerate() {
            *dx = (2.0 * s * x + coefficient(first + index)) * g;
            sum += f64::from(g * x * x);
        }
        sum
    }
}

#[test]
fn a_pointwise_function_and_its_gradients_are_those_of_plain_operations() {
    let dims = [3, 5, 60, 70];
    let (x, s) = (random(dims, "x").require_grad(), random([1; 4], "s").require_grad());
    // A view whose values lie in another order than its own: the function's input and, turned back, its gradient.
    let turned = |tensor: Tensor<4>| tensor.swap_dims(1, 3);
    let (view, cotangent) = (turned(x.clone()), random(dims, "cotangent"));
    let coefficients: Vec<f32> = (0..dims.iter().product()).map(coefficient).collect();
    let coefficients = Tensor::from_data(TensorData::new(coefficients, view.dims()), &Device::flex().autodiff());
    let ours = pointwise(&turned(x.clone()), &s, Parabola).unwrap();
    let plain = view.clone() * view.clone() * s.clone() + coefficients * view;
    let value = plain.clone().inner();
    close(ours.clone().inner(), value.clone(), "value");
    let ours = (turned(ours) * cotangent.clone()).sum().backward();
    let plain = (turned(plain) * cotangent).sum().backward();
    close(x.grad(&ours).unwrap(), x.grad(&plain).unwrap(), "dx");
    let [found, expected] = [&ours, &plain].map(|gradients| s.grad(gradients).unwrap().into_scalar::<f32>());
    assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{found} {expected}");
    let untracked = pointwise(&turned(x.inner()), &s.inner(), Parabola).unwrap();
    assert!(!untracked.is_autodiff());
    close(untracked, value, "value without gradients");
}

#[test]
fn the_leaky_rectifier_and_its_gradient_are_burn_s() {
    let x = random([3, 5, 6, 7], "x").require_grad();
    let cotangent = random(x.dims(), "cotangent");
    let (ours, burn) = (leaky_relu(x.clone(), 0.2), burn::tensor::activation::leaky_relu(x.clone(), 0.2));
    close(ours.clone().inner(), burn.clone().inner(), "value");
    let [ours, burn] = [ours, burn].map(|y| x.grad(&(y * cotangent.clone()).sum().backward()).unwrap());
    close(ours, burn, "dx");
}
