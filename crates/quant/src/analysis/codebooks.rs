//! What every code of a quantized network stands for.

use super::Comparison;
use crate::audit::Role;
use crate::codec::{Codec, Half};
use crate::csv_cell::csv_cell;
use crate::error::QuantError;

const HEADER: &str = "layer,tensor,term,group,kind,bits,codes,step,zero,levels\n";

impl Comparison<'_> {
    /// The codes of every quantized tensor of the student as CSV, in the network's order, a line for each group of each term.
    ///
    /// ```text
    /// uniform    x^ = step * (code - zero)
    /// levels     x^ = levels[code], ascending, from code 0 on, with spaces between them
    /// fp16, bf16 x^ is the 16-bit number itself
    /// ```
    /// A tensor has one term, or several whose values are added up. Sites whose range is found while the network runs have no line.
    ///
    /// # Errors
    /// Those of the weights' codecs, with the layer's name.
    pub fn codebooks(&self) -> Result<String, QuantError> {
        let mut text = HEADER.to_owned();
        let mut weights = self.student.weight_tensors()?.into_iter().peekable();
        for node in self.quantized.nodes() {
            if let Some(weight) = weights.next_if(|weight| weight.name == node.name) {
                write(&mut text, &node.name, Role::Weight, &weight.codec);
            }
            if let Some(codec) = self.student.activations.get(&node.name) {
                write(&mut text, &node.name, Role::Activation, codec);
            }
        }
        Ok(text)
    }
}

fn write(text: &mut String, layer: &str, role: Role, codec: &Codec) {
    let layer = csv_cell(layer);
    let terms = match codec {
        Codec::Sum(terms) => terms.as_slice(),
        one => std::slice::from_ref(one),
    };
    for (term, codec) in terms.iter().enumerate() {
        for group in 0..codec.groups() {
            let cells = match codec {
                Codec::Uniform(grid) => {
                    let map = grid.map(group);
                    let zero = map.zero_point();
                    format!("uniform,{},{}..{},{},{zero},", grid.bits(), map.low, map.high, map.step())
                }
                Codec::Codebook(book) => {
                    let table = book.table(group);
                    let levels: Vec<String> = table.iter().map(ToString::to_string).collect();
                    format!("levels,{},0..{},,,{}", book.bits(), table.len() - 1, levels.join(" "))
                }
                Codec::Half(Half::Fp16) => "fp16,16,,,,".to_owned(),
                Codec::Half(Half::Bf16) => "bf16,16,,,,".to_owned(),
                Codec::Sum(_) => "sum,,,,,".to_owned(),
            };
            *text += &format!("{layer},{},{term},{group},{cells}\n", role.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::families::Families;
    use crate::network::QuantizedNetwork;
    use crate::plan::{Plan, PluginChoice, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    /// The levels of each term of each tensor's groups, read back from the text.
    fn levels(text: &str) -> BTreeMap<(String, String), Vec<Vec<Vec<f32>>>> {
        let mut found: BTreeMap<(String, String), Vec<Vec<Vec<f32>>>> = BTreeMap::new();
        assert_eq!(text.lines().next().unwrap().split(',').count(), 10);
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let (term, group) = (cells[2].parse::<usize>().unwrap(), cells[3].parse::<usize>().unwrap());
            let terms = found.entry((cells[0].to_owned(), cells[1].to_owned())).or_default();
            terms.resize(terms.len().max(term + 1), Vec::new());
            assert_eq!(terms[term].len(), group, "{line}");
            terms[term].push(match cells[4] {
                "uniform" => {
                    let (low, high) = cells[6].split_once("..").unwrap();
                    let (low, high) = (low.parse::<i32>().unwrap(), high.parse::<i32>().unwrap());
                    let [step, zero] = [7, 8].map(|at| cells[at].parse::<f32>().unwrap());
                    (low..=high).map(|code| step * (code as f32 - zero)).collect()
                }
                "levels" => cells[9].split(' ').map(|level| level.parse().unwrap()).collect(),
                other => panic!("{other}"),
            });
        }
        found
    }

    #[test]
    fn every_weight_is_a_sum_of_levels_that_it_lists() {
        for (protocol, format) in [
            (Protocol::Gdfq, None),
            (Protocol::Brecq, None),
            (Protocol::Gdfq, Some("k-means")),
            (Protocol::Gdfq, Some("residual")),
        ] {
            let mut config = QuantConfig {
                protocol,
                weight_bits: Precision::Int(3),
                activation_bits: Precision::Int(4),
                ..Default::default()
            };
            config.weight.format = format.map(PluginChoice::named);
            let network = small(4);
            let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
            let batch = images(&network, 8, 2);
            let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch.clone())).unwrap();
            let teacher = student.plan.prepare(network).unwrap();
            let found = levels(&Comparison::new(&student, &teacher, batch, 3).unwrap().codebooks().unwrap());
            let tensors = student.weight_tensors().unwrap();
            assert_eq!(found.len(), tensors.len() + student.activations.len());
            for weight in tensors {
                let terms = &found[&(weight.name.clone(), "weight".to_owned())];
                assert_eq!(terms[0].len(), weight.codec.groups());
                let quantized = weight.quantized().unwrap();
                let row = quantized.len() / terms[0].len();
                for (group, values) in quantized.chunks(row).enumerate() {
                    let sums = terms.iter().fold(vec![0.0f32], |sums, term| {
                        sums.iter().flat_map(|sum| term[group].iter().map(move |level| sum + level)).collect()
                    });
                    for value in values {
                        let near = sums.iter().any(|sum| (sum - value).abs() <= 1e-5 * value.abs().max(0.1));
                        assert!(near, "{} {format:?}: {value} of {sums:?}", weight.name);
                    }
                }
            }
        }
    }
}
