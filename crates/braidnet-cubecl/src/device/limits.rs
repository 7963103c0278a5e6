//! What a device says of its memory.

use burn::tensor::{Device, Tensor};

use super::tensor::plain;
use crate::MemoryLimits;

pub(crate) fn memory_limits(device: &Device) -> Option<MemoryLimits> {
    let tensor = plain(&Tensor::<1>::zeros([1], device))?;
    let memory = &tensor.client.properties().memory;
    Some(MemoryLimits { piece: memory.max_page_size, total: memory.max_memory() })
}
