//! How many kernels a piece of work starts.

/// Kernels that GPUs were told to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Launches {
    /// All of them.
    pub all: u64,
    /// Those of them that only move values: slices, their assignments (which concatenation consists of), copies.
    pub copies: u64,
}

impl Launches {
    /// What a kernel of this type counts as.
    #[cfg(any(feature = "_gpu", test))]
    fn of(kernel: &str) -> Self {
        // `burn_cubecl::kernel::index::slice::SliceKernel<...>`
        let path = kernel.split('<').next().unwrap_or(kernel);
        let name = path.rsplit("::").next().unwrap_or(path);
        let is = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
        // CubeCL's own measurements of the device, by which it chooses among kernels.
        if is(&["LaunchOverhead"]) || name.contains("Throughput") {
            return Self::default();
        }
        // The operation of an elementwise kernel is among its generic arguments.
        let is_identity = || kernel.split(['<', '>', ',', ' ']).any(|argument| argument.ends_with("::Copy"));
        let is_copy = is(&["Slice", "Copy"]) || is_identity();
        Self { all: 1, copies: is_copy.into() }
    }
}

/// Does `work`, and counts the kernels that all threads of this process start meanwhile, on whatever GPU. `None` in a program built
/// without one; on the processor none are started. One count at a time.
///
/// # Cost
/// A lock per launch; nothing outside of `work`.
#[cfg(feature = "_gpu")]
pub fn count_launches<T>(work: impl FnOnce() -> T) -> (T, Option<Launches>) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};

    #[derive(Default)]
    struct Counter {
        all: AtomicU64,
        copies: AtomicU64,
    }

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            let Launches { all, copies } = Launches::of(kernel);
            self.all.fetch_add(all, Relaxed);
            self.copies.fetch_add(copies, Relaxed);
        }
    }

    let counter = Arc::new(Counter::default());
    let observation = LaunchObservation::new(counter.clone());
    let done = work();
    drop(observation);
    (done, Some(Launches { all: counter.all.load(Relaxed), copies: counter.copies.load(Relaxed) }))
}

/// Does `work`, and counts the kernels that all threads of this process start meanwhile, on whatever GPU. `None` in a program built
/// without one, as this is.
#[cfg(not(feature = "_gpu"))]
pub fn count_launches<T>(work: impl FnOnce() -> T) -> (T, Option<Launches>) {
    (work(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_from_copies_and_measurements() {
        let of = |kernel| (Launches::of(kernel).all, Launches::of(kernel).copies);
        assert_eq!(of("burn_cubecl::kernel::index::slice::slice_kernel::SliceKernel<f32>"), (1, 1));
        assert_eq!(of("a::slice_assign_kernel::SliceAssignKernel<f32, N>"), (1, 1));
        assert_eq!(of("cubecl_std::tensor::CopyKernelPack<f32, a::b::C>"), (1, 1));
        assert_eq!(of("a::UnaryNumeric<f32, N, burn_cubecl::kernel::ops::Copy>"), (1, 1));
        assert_eq!(of("burn_cubecl::kernel::binary::KernelBinop<a::AddOp>"), (1, 0));
        assert_eq!(of("cubecl_std::throughput::LaunchOverhead"), (0, 0));
        assert_eq!(of("cubecl_std::throughput::ComputeDirectThroughput<f32>"), (0, 0));
    }

    #[test]
    fn work_that_starts_no_kernel_counts_none() {
        let (done, launches) = count_launches(|| 7);
        assert_eq!(done, 7);
        assert_eq!(launches.unwrap_or_default(), Launches::default());
    }
}
