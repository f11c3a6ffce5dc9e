//! Labels apart.

/// Moves labels apart, keeping their order, so that each has `gap` pixels; between `top` and `bottom` where they fit
/// there.
pub(crate) fn spread(wanted: Vec<i32>, gap: i32, top: i32, bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| wanted[*index]);
    let mut placed = wanted;
    let mut least = top;
    for index in &order {
        placed[*index] = placed[*index].max(least);
        least = placed[*index] + gap;
    }
    let mut most = bottom;
    for index in order.iter().rev() {
        placed[*index] = placed[*index].min(most);
        most = placed[*index] - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        assert_eq!(spread(vec![100, 102, 50], 18, 0, 400), [100, 118, 50]);
        assert_eq!(spread(vec![399, 400], 18, 0, 400), [382, 400]);
        let mut many = spread(vec![200; 12], 15, 0, 400);
        many.sort_unstable();
        assert!(many.windows(2).all(|pair| pair[1] - pair[0] >= 15) && many[0] >= 0 && many[11] <= 400, "{many:?}");
    }
}
