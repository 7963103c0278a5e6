//! Transformers whose blocks are time steps.

mod activate;
mod attention;
mod config;
mod decoder;
mod dropout;
mod embedding;
mod encoder;
mod head;
mod layer_config;
mod layer_norm;
mod mlp;
mod pair;
mod pair_config;
mod pair_layer;
mod softmax;
mod space;

pub use attention::Attention;
pub use braidnet_kernels::Activation;
pub use config::{Transformer, TransformerConfig};
pub use decoder::{DecoderLayer, DecoderTape};
pub use embedding::{PairOpening, Positions, SequenceOpening};
pub use encoder::{EncoderLayer, EncoderTape};
pub use head::Head;
pub use layer_config::LayerConfig;
pub use layer_norm::LayerNorm;
pub use mlp::Mlp;
pub use pair::PairState;
pub use pair_config::{EncoderDecoder, EncoderDecoderConfig};
pub use pair_layer::{PairLayer, PairTape};
pub(crate) use space::check_known;
pub use space::{PairBatch, PairSpace, SequenceBatch, SequenceSpace, SourceTarget};
