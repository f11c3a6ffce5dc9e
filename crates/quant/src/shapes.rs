//! How large each node's output is.

use blindfold_zoo::{Layer, Network, Op};

/// `[channel, height, width]` of the output of every node for one image, in the network's order.
pub(crate) fn output_shapes(network: &Network) -> Vec<[usize; 3]> {
    let mut shapes: Vec<[usize; 3]> = Vec::with_capacity(network.nodes().len());
    for node in network.nodes() {
        let inputs: Vec<[usize; 3]> = node.inputs.iter().map(|&input| shapes[input]).collect();
        let first @ [channels, height, width] = inputs.first().copied().unwrap_or(network.input_shape());
        let shape = match &node.layer {
            Layer::Conv2d(conv) => {
                let [out, _, kernel_h, kernel_w] = conv.weight.val().dims();
                let ([stride_h, stride_w], [padding_h, padding_w]) = (conv.stride, conv.padding);
                [out, windows(height, kernel_h, stride_h, padding_h), windows(width, kernel_w, stride_w, padding_w)]
            }
            Layer::Linear(linear) => [linear.weight.val().dims()[0], 1, 1],
            Layer::BatchNorm2d(_) => first,
            Layer::ChannelSelect(select) => [select.indices.len(), height, width],
            Layer::Stateless(layer) => match layer.op {
                Op::Input | Op::Relu | Op::Relu6 | Op::Add | Op::LeakyRelu { .. } | Op::Tanh => first,
                Op::Concat => [inputs.iter().map(|input| input[0]).sum(), height, width],
                Op::MaxPool { kernel, stride, padding } | Op::AvgPool { kernel, stride, padding } => {
                    [channels, windows(height, kernel, stride, padding), windows(width, kernel, stride, padding)]
                }
                Op::GlobalAvgPool => [channels, 1, 1],
                Op::Flatten => [channels * height * width, 1, 1],
                Op::PadShortcut { stride, before, after } => {
                    [before + channels + after, height.div_ceil(stride.max(1)), width.div_ceil(stride.max(1))]
                }
                Op::Upsample { factor } => [channels, height * factor, width * factor],
                Op::Unflatten { channels, height, width } => [channels, height, width],
            },
        };
        shapes.push(shape);
    }
    shapes
}

/// How many windows of a side fit, padding on both sides.
fn windows(side: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (side + 2 * padding).saturating_sub(kernel) / stride.max(1) + 1
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::{NetworkBuilder, Site, Tap};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::architectures::all;
    use crate::testing::images;

    struct Shapes(Vec<[usize; 3]>);

    impl Tap for Shapes {
        fn output(&mut self, _site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
            let [_, channels, height, width] = output.dims();
            self.0.push([channels, height, width]);
            output
        }
    }

    #[test]
    fn they_are_those_of_a_run() {
        for network in all(1) {
            let mut seen = Shapes(Vec::new());
            network.run(images(&network, 1, 1), &mut seen);
            assert_eq!(output_shapes(&network), seen.0, "{}", network.name());
        }
    }

    #[test]
    fn those_of_a_generators_operations_are_those_of_a_run() {
        let device = Device::flex();
        let mut graph = NetworkBuilder::new(&device, 1);
        graph.linear("linear", 0, 12, 5);
        graph.op("unflatten", &[graph.last()], Op::Unflatten { channels: 2, height: 3, width: 2 });
        graph.op("up", &[graph.last()], Op::Upsample { factor: 3 });
        graph.op("leaky", &[graph.last()], Op::LeakyRelu { slope: 0.2 });
        graph.op("tanh", &[graph.last()], Op::Tanh);
        let network = graph.finish("generator", [5, 1, 1], 108);
        let mut seen = Shapes(Vec::new());
        network.run(images(&network, 1, 1), &mut seen);
        assert_eq!(seen.0[3..], [[2, 9, 6]; 3]);
        assert_eq!(output_shapes(&network), seen.0);
    }
}
