//! Values of a device whose buffers MPI reads and writes itself. The device is the host, whose memory every library takes.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use braidnet_comm::testing::RankTest;
use braidnet_comm::{
    Attach, CommError, Communicator, DeviceBuffer, DeviceMemory, DevicePath, DeviceProbe, HostProbe, ProbeError,
    Receive, Transfer, under_mpi,
};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("undecided_values_are_packed", undecided_values_are_packed),
    ("host_memory_goes_direct", host_memory_goes_direct),
    ("children_go_the_same_way", children_go_the_same_way),
    ("lent_buffers_arrive", lent_buffers_arrive),
    ("lent_to_oneself", lent_to_oneself),
    ("lent_and_waited_for_in_any_order", lent_and_waited_for_in_any_order),
    ("lent_both_ways_at_once", lent_both_ways_at_once),
    ("lent_in_collectives", lent_in_collectives),
    ("lent_and_dropped", lent_and_dropped),
    ("lent_and_never_received", lent_and_never_received),
    ("lent_as_another_type", lent_as_another_type),
    ("rooms_of_another_size", rooms_of_another_size),
    ("lent_memory_is_let_go", lent_memory_is_let_go),
    ("threads_are_attached", threads_are_attached),
    ("a_lie_is_found_out", a_lie_is_found_out),
    ("a_device_that_fails", a_device_that_fails),
    ("memory_that_no_library_takes", memory_that_no_library_takes),
];

/// Two arrays on a device that is the host, and how they came here.
#[derive(Clone, Debug)]
struct Pair {
    arrays: [Arc<[AtomicU8]>; 2],
    came: Came,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Came {
    Made,
    Packed,
    Lent,
}

impl Pair {
    /// Arrays of `n` bytes and of a third of it, with bytes that depend on `seed`.
    fn new(seed: usize, n: usize) -> Self {
        let array = |k: usize, n: usize| (0..n).map(|i| AtomicU8::new((seed * 7 + k + i + i / 256) as u8)).collect();
        Self { arrays: [array(0, n), array(100, n / 3)], came: Came::Made }
    }

    fn room(sizes: [usize; 2], came: Came) -> Self {
        Self { arrays: sizes.map(|n| (0..n).map(|_| AtomicU8::new(0)).collect()), came }
    }

    fn bytes(&self) -> [Vec<u8>; 2] {
        self.arrays.each_ref().map(|array| array.iter().map(|byte| byte.load(Ordering::Relaxed)).collect())
    }

    fn sizes(bytes: &[u8]) -> Result<[usize; 2], CommError> {
        let sizes = u64::unpack(bytes, &()).map(|sizes| [sizes >> 32, sizes & 0xffff_ffff]);
        sizes.map(|sizes| sizes.map(|n| n as usize))
    }

    /// That this came from a rank over a communicator of that size, the way it should.
    fn check(&self, world: &Communicator, seed: usize, n: usize) -> Checked {
        let came = match (goes_direct(world), under_mpi()) {
            (true, _) => Came::Lent,
            (false, true) => Came::Packed,
            (false, false) => Came::Made,
        };
        same("way", self.came, came)?;
        same("bytes", self.bytes(), Pair::new(seed, n).bytes())
    }
}

impl Transfer for Pair {
    type Context = ();

    fn n_bytes(&self) -> usize {
        8 + self.arrays.iter().map(|array| array.len()).sum::<usize>()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        self.pack_head(out);
        self.bytes().iter().for_each(|bytes| out.extend_from_slice(bytes));
    }

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        let (head, payload) = bytes.split_at_checked(8).ok_or_else(|| CommError::malformed("pair", 8, bytes.len()))?;
        let value = Self::room(Self::sizes(head)?, Came::Packed);
        value
            .arrays
            .iter()
            .flat_map(|array| array.iter())
            .zip(payload)
            .for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        Ok(value)
    }

    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        Some(self.arrays.iter().cloned().map(DeviceBuffer::of_host).collect())
    }

    fn pack_head(&self, out: &mut Vec<u8>) {
        let [a, b] = self.arrays.each_ref().map(|array| array.len() as u64);
        (a << 32 | b).pack(out);
    }

    fn room(head: &[u8], (): &()) -> Result<Self, CommError> {
        Ok(Self::room(Self::sizes(head)?, Came::Lent))
    }
}

/// Packs and lends like a [`Pair`], but makes too little room.
struct TooSmall(Pair);

impl Transfer for TooSmall {
    type Context = ();

    fn n_bytes(&self) -> usize {
        self.0.n_bytes()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
    }

    fn unpack(bytes: &[u8], (): &()) -> Result<Self, CommError> {
        Pair::unpack(bytes, &()).map(Self)
    }

    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        self.0.lend()
    }

    fn pack_head(&self, out: &mut Vec<u8>) {
        self.0.pack_head(out);
    }

    fn room(head: &[u8], (): &()) -> Result<Self, CommError> {
        let [a, b] = Pair::sizes(head)?;
        Ok(Self(Pair::room([a, b / 2], Came::Lent)))
    }
}

fn goes_direct(world: &Communicator) -> bool {
    world.device_path() == Some(&DevicePath::Direct)
}

/// A communicator on which host memory goes direct, where there is a path at all.
fn direct(world: &Communicator) -> Result<Communicator, String> {
    let own = world.duplicate().map_err(text)?;
    let expected = if under_mpi() && own.size() > 1 { DevicePath::Direct } else { DevicePath::Handles };
    same("path", own.probe_device_path(&mut HostProbe).map_err(text)?, expected)?;
    Ok(own)
}

fn next(world: &Communicator) -> usize {
    (world.rank() + 1) % world.size()
}

fn previous(world: &Communicator) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

fn post(world: &Communicator) -> Result<Receive<Pair>, String> {
    world.receive(previous(world), 0).map_err(text)
}

/// Every rank's pair to the next one.
fn pass(world: &Communicator, n: usize) -> Checked {
    world.send(next(world), 0, Pair::new(world.rank(), n)).map_err(text)?;
    post(world)?.wait(&()).map_err(text)?.check(world, previous(world), n)
}

fn undecided_values_are_packed(world: &Communicator) -> Checked {
    same("path", world.device_path(), None)?;
    pass(world, 1000)
}

fn host_memory_goes_direct(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let before = own.traffic();
    let path = own.probe_device_path(&mut Refusing).map_err(text)?;
    same("decided once", Some(&path), own.device_path())?;
    same("no message for the second call", own.traffic(), before)
}

fn children_go_the_same_way(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let before = world.duplicate().map_err(text)?;
    let child = own.duplicate().map_err(text)?;
    same("child", child.device_path(), own.device_path())?;
    same("others", before.device_path(), None)?;
    pass(&child, 1000)
}

fn lent_buffers_arrive(world: &Communicator) -> Checked {
    let own = direct(world)?;
    [0, 1, 5, 1000, 70_000, 3 << 20].into_iter().try_for_each(|n| pass(&own, n))
}

fn lent_to_oneself(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let receive: Receive<Pair> = own.receive(own.rank(), 4).map_err(text)?;
    own.send(own.rank(), 4, Pair::new(3, 1 << 20)).map_err(text)?;
    receive.wait(&()).map_err(text)?.check(&own, 3, 1 << 20)
}

/// Also with packed values between, on the same channel.
fn lent_and_waited_for_in_any_order(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let n = |k: usize| 1 << (2 * k);
    let mut pairs = Vec::new();
    let mut numbers = Vec::new();
    for k in 0..10 {
        pairs.push(post(&own)?);
        own.send(next(&own), 0, Pair::new(k, n(k))).map_err(text)?;
        own.send(next(&own), 0, vec![k as u64; 100]).map_err(text)?;
        numbers.push(own.receive::<Vec<u64>>(previous(&own), 0).map_err(text)?);
    }
    for (k, (pair, numbers)) in pairs.into_iter().zip(numbers).enumerate().rev() {
        same("numbers", numbers.wait(&()).map_err(text)?, vec![k as u64; 100])?;
        pair.wait(&()).map_err(text)?.check(&own, k, n(k))?;
    }
    Ok(())
}

fn lent_both_ways_at_once(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let n = 4 << 20;
    let ways = [(next(&own), previous(&own), 5), (previous(&own), next(&own), 6)];
    for (to, _, tag) in ways {
        own.send(to, tag, Pair::new(own.rank() + tag as usize, n)).map_err(text)?;
    }
    ways.into_iter().try_for_each(|(_, from, tag)| {
        let pair: Pair = own.receive(from, tag).map_err(text)?.wait(&()).map_err(text)?;
        pair.check(&own, from + tag as usize, n)
    })
}

fn lent_in_collectives(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let root = own.size() - 1;
    let value = (own.rank() == root).then(|| Pair::new(9, 100_000));
    let value = own.broadcast(root, value, &()).map_err(text)?;
    same("broadcast", value.bytes(), Pair::new(9, 100_000).bytes())?;
    let all = own.all_gather(Pair::new(own.rank(), 5000), &()).map_err(text)?;
    all.iter().enumerate().try_for_each(|(rank, pair)| same("all", pair.bytes(), Pair::new(rank, 5000).bytes()))
}

/// Before the message comes, after it, and with others on the way.
fn lent_and_dropped(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let n = 1 << 20;
    drop(post(&own)?);
    let (late, wanted) = (post(&own)?, post(&own)?);
    for seed in 0..3 {
        own.send(next(&own), 0, Pair::new(seed, n)).map_err(text)?;
    }
    wanted.wait(&()).map_err(text)?.check(&own, 2, n)?;
    drop(late);
    pass(&own, n)
}

fn lent_and_never_received(world: &Communicator) -> Checked {
    let own = direct(world)?;
    own.send(next(&own), 7, Pair::new(1, 2 << 20)).map_err(text)?;
    own.send(next(&own), 8, Pair::new(1, 10)).map_err(text)
}

fn lent_as_another_type(world: &Communicator) -> Checked {
    let own = direct(world)?;
    own.send(next(&own), 0, Pair::new(1, 1 << 20)).map_err(text)?;
    let wrong: Receive<TooSmall> = own.receive(previous(&own), 0).map_err(text)?;
    match wrong.wait(&()) {
        Err(CommError::TypeMismatch { .. }) => pass(&own, 1000),
        other => Err(format!("expected a type mismatch, got {:?}", other.map(|_| ()))),
    }
}

fn rooms_of_another_size(world: &Communicator) -> Checked {
    let own = direct(world)?;
    own.send(next(&own), 0, TooSmall(Pair::new(1, 1 << 20))).map_err(text)?;
    let received: Receive<TooSmall> = own.receive(previous(&own), 0).map_err(text)?;
    match received.wait(&()) {
        Err(CommError::Malformed { .. }) if goes_direct(&own) => {}
        Ok(_) if !goes_direct(&own) => {}
        other => return Err(format!("got {:?} on {:?}", other.map(|_| ()), own.device_path())),
    }
    pass(&own, 1000)
}

/// The sender's memory is freed once it has been read, and not while it may still be.
fn lent_memory_is_let_go(world: &Communicator) -> Checked {
    let own = direct(world)?;
    let pair = Pair::new(own.rank(), 4 << 20);
    let memory: Vec<Weak<_>> = pair.arrays.iter().map(Arc::downgrade).collect();
    own.send(next(&own), 0, pair).map_err(text)?;
    if own.size() > 1 {
        same("kept", memory.iter().all(|array| array.strong_count() > 0), true)?;
    }
    own.barrier().map_err(text)?;
    post(&own)?.wait(&()).map_err(text)?.check(&own, previous(&own), 4 << 20)?;
    own.barrier().map_err(text)?;
    let since = Instant::now();
    while memory.iter().any(|array| array.strong_count() > 0) {
        if since.elapsed() > Duration::from_secs(60) {
            return Err("the memory of a message that was received is still kept".to_owned());
        }
        // Any message looks after those on their way.
        own.send(own.rank(), 1, ()).map_err(text)?;
        own.receive::<()>(own.rank(), 1).map_err(text)?.wait(&()).map_err(text)?;
    }
    Ok(())
}

/// The host with some of its doings changed.
#[derive(Default)]
struct Changed {
    memory: Option<DeviceMemory>,
    n_attached: Arc<AtomicUsize>,
    read_wrong: bool,
    fill_fails: bool,
}

impl DeviceProbe for Changed {
    fn memory(&self) -> DeviceMemory {
        self.memory.unwrap_or(DeviceMemory::Host)
    }

    fn attach(&mut self) -> Result<Option<Attach>, ProbeError> {
        let n_attached = self.n_attached.clone();
        let attach = move || {
            n_attached.fetch_add(1, Ordering::Relaxed);
        };
        Ok(Some(Arc::new(attach)))
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<DeviceBuffer, ProbeError> {
        if self.fill_fails { Err("no memory left".into()) } else { HostProbe.fill(bytes) }
    }

    fn read(&mut self, buffer: &DeviceBuffer) -> Result<Vec<u8>, ProbeError> {
        let mut bytes = HostProbe.read(buffer)?;
        if self.read_wrong {
            bytes[17] ^= 1;
        }
        Ok(bytes)
    }
}

/// A device that must not be asked anything.
struct Refusing;

impl DeviceProbe for Refusing {
    fn memory(&self) -> DeviceMemory {
        unreachable!("the path is decided")
    }

    fn fill(&mut self, _: &[u8]) -> Result<DeviceBuffer, ProbeError> {
        unreachable!("the path is decided")
    }

    fn read(&mut self, _: &DeviceBuffer) -> Result<Vec<u8>, ProbeError> {
        unreachable!("the path is decided")
    }
}

fn threads_are_attached(world: &Communicator) -> Checked {
    let own = world.duplicate().map_err(text)?;
    let mut probe = Changed::default();
    own.probe_device_path(&mut probe).map_err(text)?;
    // The rank's own thread, and soon that of its heartbeats.
    let expected = if under_mpi() && own.size() > 1 { 2 } else { 0 };
    let since = Instant::now();
    while probe.n_attached.load(Ordering::Relaxed) < expected && since.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    same("attached threads", probe.n_attached.load(Ordering::Relaxed), expected)
}

/// That messages are staged for this reason, where there is a path at all.
fn expect_staged(world: &Communicator, mut probe: Changed, reason: &str) -> Checked {
    let own = world.duplicate().map_err(text)?;
    let path = own.probe_device_path(&mut probe).map_err(text)?;
    let expected = if under_mpi() && own.size() > 1 {
        DevicePath::Staged { reason: reason.to_owned() }
    } else {
        DevicePath::Handles
    };
    same("path", path, expected)?;
    pass(&own, 1000)
}

fn a_lie_is_found_out(world: &Communicator) -> Checked {
    let last = world.size() - 1;
    let probe = Changed { read_wrong: world.rank() == last, ..Changed::default() };
    let sender = (last + world.size() - 1) % world.size();
    let reason =
        format!("rank {last}: of 1024 bytes that rank {sender} sent from its device, 1024 came, 1 of them wrong");
    expect_staged(world, probe, &reason)
}

fn a_device_that_fails(world: &Communicator) -> Checked {
    let last = world.size() - 1;
    let probe = Changed { fill_fails: world.rank() == last, ..Changed::default() };
    expect_staged(world, probe, &format!("rank {last}: no memory left"))
}

fn memory_that_no_library_takes(world: &Communicator) -> Checked {
    let probe = Changed { memory: Some(DeviceMemory::Opaque), ..Changed::default() };
    expect_staged(world, probe, "no MPI library takes buffers of this kind of device")
}
