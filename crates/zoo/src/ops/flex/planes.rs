//! Images laid out so that a convolution reads runs of memory.
//!
//! A convolution of stride `s` reads, for output pixel `(h, w)` and kernel pixel `(u, v)`, the padded input pixel
//! `(s h + u, s w + v)`. Splitting the padded image into its `s_h * s_w` phases (`(s q + a, s r + b)` for each `(a, b)`)
//! turns that into pixel `(h + u / s, w + v / s)` of phase `(u mod s, v mod s)`: for a fixed kernel pixel the output is a
//! shifted copy of a plane. With output rows as long as plane rows, a whole image is one run of memory, at the price
//! of a few unused positions at the end of each row.

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) channels_in: usize,
    pub(super) channels_out: usize,
    pub(super) groups: usize,
    pub(super) size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Geometry {
    /// Height and width of the output.
    pub(super) fn out(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.size[d] + 2 * self.padding[d] - self.kernel[d]) / self.stride[d] + 1)
    }

    /// The convolution that the input gradient is, for stride 1 and a padding below the kernel's size.
    pub(super) fn turned(&self) -> Self {
        Self {
            channels_in: self.channels_out,
            channels_out: self.channels_in,
            size: self.out(),
            padding: [0, 1].map(|d| self.kernel[d] - 1 - self.padding[d]),
            ..*self
        }
    }

    /// Height and width of one phase plane.
    pub(super) fn plane(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.size[d] + 2 * self.padding[d]).div_ceil(self.stride[d]))
    }

    /// Input channels of one group.
    pub(super) fn group_in(&self) -> usize {
        self.channels_in / self.groups
    }

    /// Output channels of one group.
    pub(super) fn group_out(&self) -> usize {
        self.channels_out / self.groups
    }

    /// Kernel values that one output channel has.
    pub(super) fn taps(&self) -> usize {
        self.group_in() * self.kernel[0] * self.kernel[1]
    }

    /// Values of all phase planes of one channel.
    pub(super) fn channel_planes(&self) -> usize {
        let [rows, columns] = self.plane();
        self.stride[0] * self.stride[1] * rows * columns
    }

    /// For each tap of a group (channel, kernel row, kernel column), where its plane run starts.
    pub(super) fn tap_offsets(&self) -> Vec<usize> {
        let [rows, columns] = self.plane();
        let [step_h, step_w] = self.stride;
        let mut offsets = Vec::with_capacity(self.taps());
        for channel in 0..self.group_in() {
            for u in 0..self.kernel[0] {
                for v in 0..self.kernel[1] {
                    let phase = (u % step_h) * step_w + v % step_w;
                    let start = channel * self.channel_planes() + phase * rows * columns;
                    offsets.push(start + (u / step_h) * columns + v / step_w);
                }
            }
        }
        offsets
    }

    /// Splits an image of some channels into phase planes; positions of the padding are left as they are (zero).
    pub(super) fn split(&self, image: &[f32], planes: &mut [f32]) {
        let [height, width] = self.size;
        let [rows, columns] = self.plane();
        let [step_h, step_w] = self.stride;
        for (channel, picture) in image.chunks_exact(height * width).enumerate() {
            let channel_start = channel * self.channel_planes();
            for (h, line) in picture.chunks_exact(width).enumerate() {
                let (row, phase_row) = ((h + self.padding[0]) / step_h, (h + self.padding[0]) % step_h);
                let row_start = |phase: usize| channel_start + ((phase_row * step_w + phase) * rows + row) * columns;
                if step_w == 1 {
                    let start = row_start(0) + self.padding[1];
                    planes[start..start + width].copy_from_slice(line);
                } else {
                    for phase in 0..step_w.min(width) {
                        let column = phase + self.padding[1];
                        let start = row_start(column % step_w) + column / step_w;
                        let values = line[phase..].iter().step_by(step_w);
                        planes[start..].iter_mut().zip(values).for_each(|(to, &from)| *to = from);
                    }
                }
            }
        }
    }

    /// The inverse of [`Self::split`]: reads one phase `(a, b)` of one channel, `plane` having rows of `pitch` values.
    pub(super) fn join_phase(&self, plane: &[f32], pitch: usize, phase: [usize; 2], picture: &mut [f32]) {
        let [height, width] = self.size;
        let [rows, columns] = self.plane();
        let inside = |position: usize, d: usize, size: usize| {
            (self.stride[d] * position + phase[d]).checked_sub(self.padding[d]).filter(|&place| place < size)
        };
        for row in 0..rows {
            let Some(h) = inside(row, 0, height) else { continue };
            let line = &plane[row * pitch..row * pitch + columns];
            let target = &mut picture[h * width..(h + 1) * width];
            if self.stride[1] == 1 {
                target.copy_from_slice(&line[self.padding[1]..self.padding[1] + width]);
            } else {
                let Some(first) = (0..columns).find(|&column| inside(column, 1, width).is_some()) else { continue };
                let from = self.stride[1] * first + phase[1] - self.padding[1];
                let places = target[from..].iter_mut().step_by(self.stride[1]);
                places.zip(&line[first..]).for_each(|(to, &value)| *to = value);
            }
        }
    }
}
