//! Sums over many values, several side by side.

/// Sums that run side by side, each over every sixteenth value.
pub const LANES: usize = 16;

/// `sum map(x)`, in sixteen lanes: it becomes vector instructions, and rounds less than one running sum.
#[inline(always)]
pub fn lane_sum(values: &[f32], map: impl Fn(f32) -> f32) -> f32 {
    let (rows, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for row in rows {
        for (lane, &value) in lanes.iter_mut().zip(row) {
            *lane += map(value);
        }
    }
    let mut last = 0.0f32;
    for &value in rest {
        last += map(value);
    }
    lanes.iter().sum::<f32>() + last
}

/// `sum a b`, in sixteen lanes; the shorter one decides how many.
#[inline(always)]
pub fn lane_product(a: &[f32], b: &[f32]) -> f32 {
    let count = a.len().min(b.len());
    let ((a_rows, a_rest), (b_rows, b_rest)) = (a[..count].as_chunks::<LANES>(), b[..count].as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a_rows.iter().zip(b_rows) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let mut last = 0.0f32;
    for (a, b) in a_rest.iter().zip(b_rest) {
        last += a * b;
    }
    lanes.iter().sum::<f32>() + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectorized;

    #[test]
    fn a_sum_in_lanes_is_the_sum() {
        let values: Vec<f32> = (0..1000).map(|index| index as f32).collect();
        for count in [0, 1, 15, 16, 17, 1000] {
            let exact: f32 = (0..count).map(|index| 2.0 * index as f32).sum();
            assert_eq!(lane_sum(&values[..count], |value| 2.0 * value), exact);
            assert_eq!(vectorized(|| lane_sum(&values[..count], |value| 2.0 * value)), exact);
            assert_eq!(lane_product(&values[..count], &[2.0; 1000]), exact);
        }
    }
}
