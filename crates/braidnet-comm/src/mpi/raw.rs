//! The MPI calls, wrapped so that a buffer cannot go away while the library uses it. The only file that calls MPI.
//!
//! Nothing here assumes how a library represents its handles, so any MPI 3 library will do.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;

use ::mpi::environment::Universe;
use ::mpi::ffi;

use crate::{CommError, DeviceBuffer};

/// This process's end of a duplicate of the world: nobody else's messages are seen in it.
pub(crate) struct RawWorld {
    comm: ffi::MPI_Comm,
    pub rank: usize,
    pub size: usize,
    /// The number of tags that the library tells apart.
    pub n_tags: u64,
}

// SAFETY: a handle is a value of the library, not of a thread. Every call that uses it happens under the mutex around
// the engine that owns it, which is what the thread level `Serialized`, checked at the start, asks for.
unsafe impl Send for RawWorld {}

impl RawWorld {
    /// Duplicates the world. Collective.
    pub fn new(_initialized: &Universe) -> Result<Self, CommError> {
        let (mut comm, mut rank, mut size) = (MaybeUninit::uninit(), 0, 0);
        // SAFETY: MPI is initialised, as the universe proves; all pointers are to live variables, and the duplicate is
        // written before it is read, because a failing call returns early.
        unsafe {
            check("MPI_Comm_dup", ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, comm.as_mut_ptr()))?;
            let comm = comm.assume_init();
            // Errors come back as values, so that they end all ranks with a message of ours.
            check("MPI_Comm_set_errhandler", ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN))?;
            check("MPI_Comm_rank", ffi::MPI_Comm_rank(comm, &mut rank))?;
            check("MPI_Comm_size", ffi::MPI_Comm_size(comm, &mut size))?;
            Ok(Self { comm, rank: rank as usize, size: size as usize, n_tags: n_tags() })
        }
    }

    /// Starts to send a whole buffer.
    pub fn isend(&self, to: usize, tag: i32, buffer: Vec<u8>) -> Result<Pending, CommError> {
        let n_bytes = count(buffer.len())?;
        let data = buffer.as_ptr().cast::<c_void>();
        // SAFETY: the bytes live on the heap, so they stay in place while the buffer moves into the `Pending`, which
        // neither changes nor frees them before the request is done.
        start("MPI_Isend", buffer, |request| unsafe {
            ffi::MPI_Isend(data, n_bytes, ffi::RSMPI_UINT8_T, to as c_int, tag, self.comm, request)
        })
    }

    /// Posts a receive of up to `capacity` bytes into a buffer whose contents do not matter.
    pub fn irecv(&self, from: usize, tag: i32, mut buffer: Vec<u8>, capacity: usize) -> Result<Pending, CommError> {
        buffer.clear();
        buffer.reserve_exact(capacity);
        let n_bytes = count(capacity)?;
        let data = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: as in `isend`; `capacity` bytes are reserved, and they are read only after MPI has written them.
        start("MPI_Irecv", buffer, |request| unsafe {
            ffi::MPI_Irecv(data, n_bytes, ffi::RSMPI_UINT8_T, from as c_int, tag, self.comm, request)
        })
    }

    /// Starts to send a whole buffer from where it is. The library must take pointers to that memory.
    pub fn isend_lent(&self, to: usize, tag: i32, lent: DeviceBuffer) -> Result<Pending, CommError> {
        let n_bytes = count(lent.n_bytes())?;
        let data = ptr::with_exposed_provenance::<c_void>(lent.address());
        // SAFETY: who made the buffer promised that its bytes stay allocated, in place and unchanged while it exists; the
        // `Pending` keeps it until the request is done.
        start("MPI_Isend", lent, |request| unsafe {
            ffi::MPI_Isend(data, n_bytes, ffi::RSMPI_UINT8_T, to as c_int, tag, self.comm, request)
        })
    }

    /// Posts a receive that fills a whole buffer where it is. The library must take pointers to that memory.
    pub fn irecv_lent(&self, from: usize, tag: i32, lent: DeviceBuffer) -> Result<Pending, CommError> {
        let n_bytes = count(lent.n_bytes())?;
        let data = ptr::with_exposed_provenance_mut::<c_void>(lent.address());
        // SAFETY: as in `isend_lent`, and nobody else touches the bytes of a buffer that is received into.
        start("MPI_Irecv", lent, |request| unsafe {
            ffi::MPI_Irecv(data, n_bytes, ffi::RSMPI_UINT8_T, from as c_int, tag, self.comm, request)
        })
    }

    /// Enters a barrier. Collective.
    pub fn ibarrier(&self) -> Result<Pending, CommError> {
        // SAFETY: the communicator is valid until `free`, which consumes this.
        start("MPI_Ibarrier", Vec::new(), |request| unsafe { ffi::MPI_Ibarrier(self.comm, request) })
    }

    /// Receives one message that no posted receive matches, if there is one: its sender and its bytes.
    pub fn receive_unmatched(&self) -> Result<Option<(usize, Vec<u8>)>, CommError> {
        let (mut found, mut n_bytes) = (0, 0);
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: all pointers are to live variables; the status is read only if a message was found, and then it was
        // written. The buffer is as large as the message, which no other thread can take meanwhile, and its length is set
        // once MPI has written it.
        unsafe {
            let (source, tag) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG);
            check("MPI_Iprobe", ffi::MPI_Iprobe(source, tag, self.comm, &mut found, status.as_mut_ptr()))?;
            if found == 0 {
                return Ok(None);
            }
            check("MPI_Get_count", ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut n_bytes))?;
            let status = status.assume_init();
            let mut buffer = Vec::<u8>::with_capacity(n_bytes as usize);
            let data = buffer.as_mut_ptr().cast::<c_void>();
            let (source, tag, ignore) = (status.MPI_SOURCE, status.MPI_TAG, ffi::RSMPI_STATUS_IGNORE);
            check("MPI_Recv", ffi::MPI_Recv(data, n_bytes, ffi::RSMPI_UINT8_T, source, tag, self.comm, ignore))?;
            buffer.set_len(n_bytes as usize);
            Ok(Some((status.MPI_SOURCE as usize, buffer)))
        }
    }

    /// Ends all processes of the job with exit code 1.
    pub fn abort(&self) -> ! {
        // SAFETY: MPI is initialised for as long as this exists.
        unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, 1) };
        std::process::exit(1)
    }

    /// Frees the duplicate. Collective.
    pub fn free(mut self) -> Result<(), CommError> {
        // SAFETY: the handle is valid, and `self` is consumed, so nobody uses it again.
        check("MPI_Comm_free", unsafe { ffi::MPI_Comm_free(&mut self.comm) })
    }
}

/// An operation under way, with the buffer it uses. Dropped early, the buffer leaks: the library may still use it.
pub(crate) struct Pending {
    request: ffi::MPI_Request,
    held: Held,
    is_done: bool,
}

/// The memory of an operation.
enum Held {
    Bytes(Vec<u8>),
    Lent(#[expect(dead_code, reason = "held only so that it lives")] DeviceBuffer),
}

impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<DeviceBuffer> for Held {
    fn from(lent: DeviceBuffer) -> Self {
        Self::Lent(lent)
    }
}

// SAFETY: as for `RawWorld`.
unsafe impl Send for Pending {}

impl Pending {
    /// Whether the operation is done; a received message's bytes are then in the buffer.
    pub fn test_receive(&mut self) -> Result<bool, CommError> {
        let (mut n_bytes, mut done) = (0, 0);
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: the request is active, else this returns first; the status is read only once MPI has written it. MPI
        // has initialised the bytes that it counts, and they lie within the capacity it was given.
        unsafe {
            check("MPI_Test", ffi::MPI_Test(&mut self.request, &mut done, status.as_mut_ptr()))?;
            if done != 0 {
                self.is_done = true;
                check("MPI_Get_count", ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut n_bytes))?;
                if let Held::Bytes(buffer) = &mut self.held {
                    buffer.set_len((n_bytes as usize).min(buffer.capacity()));
                }
            }
        }
        Ok(self.is_done)
    }

    /// Whether a send, a barrier or a receive whose size is known is done.
    pub fn test(&mut self) -> Result<bool, CommError> {
        let mut done = c_int::from(self.is_done);
        if !self.is_done {
            // SAFETY: the request is active, and the pointers are to live variables.
            check("MPI_Test", unsafe { ffi::MPI_Test(&mut self.request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
        }
        self.is_done = done != 0;
        Ok(self.is_done)
    }

    /// Whether the memory was lent.
    pub fn is_lent(&self) -> bool {
        matches!(self.held, Held::Lent(_))
    }

    /// Takes a posted receive back, or waits for the message it has already matched, and drops it.
    pub fn cancel(mut self) -> Result<(), CommError> {
        if !self.is_done {
            // SAFETY: the request is active; after the wait the library has let go of the buffer.
            unsafe {
                check("MPI_Cancel", ffi::MPI_Cancel(&mut self.request))?;
                check("MPI_Wait", ffi::MPI_Wait(&mut self.request, ffi::RSMPI_STATUS_IGNORE))?;
            }
            self.is_done = true;
        }
        Ok(())
    }

    /// The buffer of an operation that is done; an empty one if it is not, or if the memory was lent.
    pub fn into_buffer(mut self) -> Vec<u8> {
        match &mut self.held {
            Held::Bytes(buffer) if self.is_done => mem::take(buffer),
            _ => Vec::new(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_done {
            mem::forget(mem::replace(&mut self.held, Held::Bytes(Vec::new())));
        }
    }
}

fn start(
    call: &str,
    held: impl Into<Held>,
    begin: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
) -> Result<Pending, CommError> {
    // SAFETY: reading a constant of the library.
    let mut pending = Pending { request: unsafe { ffi::RSMPI_REQUEST_NULL }, held: held.into(), is_done: false };
    check(call, begin(&mut pending.request))?;
    Ok(pending)
}

fn count(n_bytes: usize) -> Result<c_int, CommError> {
    c_int::try_from(n_bytes).map_err(|_| CommError::TooLarge { n_bytes, limit: super::wire::LIMIT })
}

/// The number of tags, at least what the standard promises.
fn n_tags() -> u64 {
    let mut value: *mut c_int = ptr::null_mut();
    let mut found = 0;
    // SAFETY: for this attribute MPI writes a pointer to an integer of its own that lives as long as the world.
    unsafe {
        let key = ffi::MPI_TAG_UB as c_int;
        let out = (&raw mut value).cast::<c_void>();
        ffi::MPI_Comm_get_attr(ffi::RSMPI_COMM_WORLD, key, out, &mut found);
        if found == 0 || value.is_null() { 32768 } else { (*value).max(32767) as u64 + 1 }
    }
}

fn check(call: &str, code: c_int) -> Result<(), CommError> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = [0u8; ffi::MPI_MAX_ERROR_STRING as usize];
    let mut len = 0;
    // SAFETY: the buffer has the length that the standard asks for.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut len) };
    let text = &text[..(len.max(0) as usize).min(text.len())];
    Err(CommError::Mpi { call: call.to_owned(), message: String::from_utf8_lossy(text).into_owned() })
}
