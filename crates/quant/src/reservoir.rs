//! A bounded, repeatable sample of a stream of values.

/// Keeps all values up to a limit, and beyond it a uniform sample of at most that many.
///
/// The sample needs no random state: value number `i` is kept when `hash(i) < 2^32 / 2^k`, and `k` grows by one whenever
/// the limit is passed. The hash, rather than every `2^k`-th value, keeps the sample free of the rows and columns of images.
#[derive(Debug, Clone)]
pub struct Reservoir {
    limit: usize,
    halvings: u32,
    seen: u64,
    values: Vec<f32>,
    hashes: Vec<u32>,
}

impl Reservoir {
    /// An empty reservoir of at most `limit` values (at least one).
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), halvings: 0, seen: 0, values: Vec::new(), hashes: Vec::new() }
    }

    /// Sees more values.
    pub fn extend(&mut self, values: &[f32]) {
        for part in values.chunks(self.limit) {
            let bound = self.bound();
            for &value in part {
                let hash = hash(self.seen);
                self.seen += 1;
                if u64::from(hash) < bound {
                    self.values.push(value);
                    self.hashes.push(hash);
                }
            }
            while self.values.len() > self.limit && self.halvings < 32 {
                self.halve();
            }
        }
    }

    /// The values kept, in the order in which they were seen.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// How many values were seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    fn bound(&self) -> u64 {
        (1u64 << 32) >> self.halvings
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let bound = self.bound();
        let mut kept = 0;
        for index in 0..self.values.len() {
            if u64::from(self.hashes[index]) < bound {
                self.values[kept] = self.values[index];
                self.hashes[kept] = self.hashes[index];
                kept += 1;
            }
        }
        self.values.truncate(kept);
        self.hashes.truncate(kept);
    }
}

/// The upper half of SplitMix64 (Steele, Lea and Flood 2014).
fn hash(index: u64) -> u32 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_kept_up_to_the_limit() {
        let mut reservoir = Reservoir::new(100);
        let values: Vec<f32> = (0..100).map(|value| value as f32).collect();
        reservoir.extend(&values);
        assert_eq!(reservoir.values(), values);
    }

    #[test]
    fn beyond_it_the_sample_is_bounded_fair_and_independent_of_the_batches() {
        let values: Vec<f32> = (0..100_000).map(|value| value as f32).collect();
        let mut whole = Reservoir::new(4096);
        whole.extend(&values);
        let mut parts = Reservoir::new(4096);
        values.chunks(777).for_each(|part| parts.extend(part));
        assert_eq!(whole.values(), parts.values());
        assert!(whole.values().len() <= 4096 && whole.values().len() > 1500);
        let mean = whole.values().iter().sum::<f32>() / whole.values().len() as f32;
        assert!((mean - 50_000.0).abs() < 2500.0, "{mean}");
        let first_columns = whole.values().iter().filter(|value| (**value as usize).is_multiple_of(32)).count();
        assert!(first_columns * 32 < whole.values().len() * 2, "{first_columns}");
    }
}
