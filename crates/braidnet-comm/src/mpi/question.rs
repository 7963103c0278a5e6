//! Whether the MPI library takes pointers to the memory of a device: asked of the library that runs.

use crate::DeviceMemory;

/// The functions that answer: their names, and what they ask.
struct Question {
    /// `int f(void)`: of Open MPI, and of others for the sake of its programs.
    simple: &'static str,
    /// The kind of GPU in MPICH's `int MPIX_GPU_query_support(int kind, int *is_supported)`.
    kind: i32,
}

/// MPICH's function.
const BY_KIND: &str = "MPIX_GPU_query_support";

/// Whether pointers to this memory may be given to the library; otherwise why not. Asks only, and sends nothing.
pub(crate) fn takes(memory: DeviceMemory) -> Result<(), String> {
    let question = match memory {
        DeviceMemory::Host => return Ok(()),
        DeviceMemory::Opaque => return Err("no MPI library takes buffers of this kind of device".to_owned()),
        DeviceMemory::Cuda => Question { simple: "MPIX_Query_cuda_support", kind: 0 },
        DeviceMemory::Rocm => Question { simple: "MPIX_Query_rocm_support", kind: 2 },
    };
    judge(memory, [(BY_KIND, ask::by_kind(BY_KIND, question.kind)), (question.simple, ask::simple(question.simple))])
}

/// The first function that is there decides. MPICH's comes first: where both are, the other one may be a mere remainder.
fn judge(memory: DeviceMemory, answers: [(&str, Option<bool>); 2]) -> Result<(), String> {
    match answers.iter().find_map(|(name, answer)| answer.map(|answer| (name, answer))) {
        Some((_, true)) => Ok(()),
        Some((name, false)) => Err(format!("the MPI library takes no {memory} pointers: its {name} says no")),
        None => {
            let names = answers.map(|(name, _)| name).join(" nor ");
            Err(format!("the MPI library does not say that it takes {memory} pointers: it has neither {names}"))
        }
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
mod ask {
    use std::ffi::c_int;

    use libloading::os::unix::{Library, Symbol};

    /// The answer of a function without arguments, if this program has it.
    pub fn simple(name: &str) -> Option<bool> {
        let program = Library::this();
        // SAFETY: all libraries with a function of this name declare it `int f(void)`. It may be called between
        // MPI_Init and MPI_Finalize, where this is.
        unsafe {
            let query: Symbol<unsafe extern "C" fn() -> c_int> = program.get(name.as_bytes()).ok()?;
            Some(query() == 1)
        }
    }

    /// The answer of MPICH's function for a kind of GPU, if this program has it.
    pub fn by_kind(name: &str, kind: c_int) -> Option<bool> {
        let program = Library::this();
        let mut is_supported = 0;
        // SAFETY: all libraries with a function of this name declare it so, and the pointer is to a live variable.
        unsafe {
            let query: Symbol<unsafe extern "C" fn(c_int, *mut c_int) -> c_int> = program.get(name.as_bytes()).ok()?;
            Some(query(kind, &mut is_supported) == 0 && is_supported != 0)
        }
    }
}

#[cfg(not(unix))]
mod ask {
    /// Nobody who could be asked.
    pub fn simple(_name: &str) -> Option<bool> {
        None
    }

    /// Nobody who could be asked.
    pub fn by_kind(_name: &str, _kind: i32) -> Option<bool> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_counts() {
        let judge = |a, b| judge(DeviceMemory::Cuda, [("f", a), ("g", b)]);
        assert_eq!(judge(Some(true), None), Ok(()));
        assert_eq!(judge(None, Some(true)), Ok(()));
        assert_eq!(judge(Some(true), Some(false)), Ok(()));
        let no = "the MPI library takes no CUDA pointers: its f says no";
        assert_eq!(judge(Some(false), Some(true)), Err(no.to_owned()));
        assert!(judge(None, None).unwrap_err().ends_with("it has neither f nor g"));
    }

    #[test]
    fn a_function_that_is_not_there_gives_no_answer() {
        assert_eq!(ask::simple("MPIX_no_such_function"), None);
        assert_eq!(ask::by_kind("MPIX_no_such_function", 0), None);
    }
}
