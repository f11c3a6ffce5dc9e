//! Nodes and blocks of a network graph.

use std::ops::Range;

use burn::module::Module;

use super::layer::Layer;

/// The place of a node in the topological order.
pub type NodeId = usize;

/// One step of a network: a named layer and where its inputs come from.
#[derive(Module, Debug)]
pub struct Node {
    /// The module path that the usual PyTorch implementations give the layer, such as `layer1.0.conv1`.
    pub name: String,
    /// The nodes whose outputs this one takes, all of them earlier.
    #[module(skip)]
    pub inputs: Vec<NodeId>,
    /// What it computes.
    pub layer: Layer,
}

/// A residual (or dense) block: a stretch of nodes that reads one earlier node and is read through its last one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Such as `layer1.0`.
    pub name: String,
    /// The nodes that belong to it.
    pub nodes: Range<NodeId>,
    /// The node outside that it reads.
    pub input: NodeId,
    /// The node within that others read.
    pub output: NodeId,
}
