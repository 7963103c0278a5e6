//! A network spread over the layer axis.

use braidnet_comm::Communicator;
use braidnet_grid::{Partition, Step, TimeGrid};
use braidnet_mgrit::{Activations, Guess, Method, MgritOptions, OnNonFinite};
use braidnet_nn::{Network, Noise, OpeningPullback, Pass};
use burn::tensor::Tensor;

use crate::data::Micro;
use crate::forward::{Forward, StateGuess, forward};
use crate::guess::ClassMeans;
use crate::snapshot::Parts;
use crate::solvers::Solvers;
use crate::working::{Low, Working, with_scaled_tolerance};
use crate::{GivenGuess, InitialGuess, MicroBatching, Schedule, SolveConfig, Task, TrainError, reading};

/// A network whose layers are spread over the ranks of a communicator.
///
/// Every rank holds the part of the network with its own layers and calls the same methods in the same order.
pub struct LayerParallel<N: Network> {
    pub(crate) network: N,
    pub(crate) comm: Communicator,
    pub(crate) partition: Partition,
    pub(crate) grid: TimeGrid,
    pub(crate) solvers: Solvers<N::State>,
    pub(crate) activations: Activations,
    pub(crate) micro_batching: MicroBatching,
    pub(crate) on_non_finite: OnNonFinite,
    noise: Option<Noise>,
    pub(crate) given_guess: Option<GivenGuess<N>>,
    /// Of the samples of the batch to come.
    pub(crate) classes: Option<Vec<usize>>,
    means: ClassMeans<N::State>,
    /// Made when the gradient error is first asked for.
    pub(crate) exact: Option<Solvers<N::State>>,
    /// `None`: all in single precision.
    pub(crate) low: Option<Low<N>>,
}

impl<N: Network> LayerParallel<N> {
    /// Spreads a network over the ranks of `comm`; `network` has the layers that `partition` gives to this rank.
    ///
    /// # Errors
    /// An invalid schedule, a partition for another number of ranks or layers, or a coarse operator that the partition
    /// rules out; before any communication.
    pub fn new(
        network: N,
        grid: &TimeGrid,
        partition: &Partition,
        schedule: &Schedule,
        comm: &Communicator,
    ) -> Result<Self, TrainError> {
        check(&network, schedule)?;
        let options = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
        let (activations, on_non_finite) = (schedule.activations, OnNonFinite::Fail);
        let solvers = Solvers::new(grid, partition, options, comm)?.starting_as(schedule);
        let solvers = solvers.set_up(activations, on_non_finite);
        solvers.forward.check(|step| network.supports(step))?;
        solvers.adjoint.check(|step| network.supports(step))?;
        let (comm, partition, grid) = (comm.clone(), partition.clone(), grid.clone());
        let micro_batching = schedule.micro_batching;
        Ok(Self {
            network,
            comm,
            partition,
            grid,
            solvers,
            activations,
            micro_batching,
            on_non_finite,
            noise: None,
            given_guess: None,
            classes: None,
            means: ClassMeans::default(),
            exact: None,
            low: None,
        })
    }

    /// Changes how the solves are done; every rank must.
    ///
    /// # Errors
    /// As [`LayerParallel::new`].
    ///
    /// # Communication
    /// None.
    pub fn set_schedule(&mut self, schedule: &Schedule) -> Result<(), TrainError> {
        self.set_solves(schedule, |options| options)
    }

    /// As [`LayerParallel::set_schedule`], with the solves' options changed by `change`.
    pub(crate) fn set_solves(
        &mut self,
        schedule: &Schedule,
        change: fn(MgritOptions) -> MgritOptions,
    ) -> Result<(), TrainError> {
        check(&self.network, schedule)?;
        let [forward, backward] = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
        let backward = with_scaled_tolerance(backward, self.precision().loss_scale());
        let options = [forward, backward].map(change);
        let solvers = Solvers::new(&self.grid, &self.partition, options, &self.comm)?.starting_as(schedule);
        let solvers = solvers.set_up(schedule.activations, self.on_non_finite);
        solvers.forward.check(|step| self.network.supports(step))?;
        solvers.adjoint.check(|step| self.network.supports(step))?;
        (self.solvers, self.activations) = (solvers, schedule.activations);
        self.micro_batching = schedule.micro_batching;
        Ok(())
    }

    /// Makes the solvers anew, with these options; states are forgotten.
    pub(crate) fn renew_solvers(&mut self, options: [MgritOptions; 2]) -> Result<(), TrainError> {
        let guesses = self.solvers.guesses;
        let solvers = Solvers::new(&self.grid, &self.partition, options, &self.comm)?;
        self.solvers = Solvers { guesses, ..solvers.set_up(self.activations, self.on_non_finite) };
        (self.exact, self.means) = (None, ClassMeans::default());
        Ok(())
    }

    /// The network as solves work with it.
    pub(crate) fn working(&self) -> Working<'_, N> {
        Working::new(&self.network, self.low.as_ref())
    }

    /// Turns random parts of the network (dropout) on for the batches to come, or off: at first they are off. Only the first
    /// rank's choice counts. It stays until it is changed; [`Trainer::fit`](crate::Trainer::fit) makes it anew for every step.
    /// Evaluations never have them.
    pub fn set_noise(&mut self, noise: Option<Noise>) {
        self.noise = noise;
    }

    /// What the layers need of a batch, on every rank.
    ///
    /// # Communication
    /// A broadcast over the layer axis, unless the number of samples says it all.
    fn share(&self, samples: usize, input: Option<&N::Input>, pass: Pass) -> Result<N::Batch, TrainError> {
        if samples == 0 {
            return Err(TrainError::EmptyBatch);
        }
        let batch = match self.network.batch_of_size(samples, pass) {
            Some(batch) => batch,
            None => {
                let own = self.input(input)?.map(|input| self.network.batch(input, pass));
                self.comm.broadcast(0, own, &self.network.device())?
            }
        };
        Ok(self.working().layers.prepare(batch))
    }

    /// The input, on the first rank only.
    fn input<'a>(&self, input: Option<&'a N::Input>) -> Result<Option<&'a N::Input>, TrainError> {
        match input {
            _ if !self.is_first() => Ok(None),
            None => Err(TrainError::NoInput { rank: self.comm.rank() }),
            Some(input) => {
                self.network.check(input)?;
                Ok(Some(input))
            }
        }
    }

    /// Changes what a state or a loss that is not finite does: by default it is an error of the rank that finds it. With
    /// [`OnNonFinite::Report`] the ranks go on and the reports say so, for callers that agree on what to do.
    pub fn set_on_non_finite(&mut self, choice: OnNonFinite) {
        self.on_non_finite = choice;
        for solvers in std::iter::once(&mut self.solvers).chain(&mut self.exact) {
            solvers.forward.set_on_non_finite(choice);
            solvers.adjoint.set_on_non_finite(choice);
        }
    }

    /// This rank's layers as steps of the finest level.
    pub(crate) fn own_steps(&self) -> Vec<Step> {
        let finest = self.solvers.forward.hierarchy().finest();
        self.partition.layers(self.comm.rank()).map(|layer| finest.step(layer)).collect()
    }

    /// This rank's part of the network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// Replaces this rank's part of the network, for instance by its optimizer's update.
    pub fn update(&mut self, f: impl FnOnce(N) -> N) {
        self.network = f(self.network.clone());
        if let Some(low) = &mut self.low {
            low.renew();
        }
    }

    /// The communicator of the layer axis.
    pub fn comm(&self) -> &Communicator {
        &self.comm
    }

    /// This rank's layers, as the solver counts.
    pub fn layers(&self) -> std::ops::Range<usize> {
        self.partition.layers(self.comm.rank())
    }

    /// What this rank keeps in a checkpoint: its layers, with those at the ends that the solver does not count. What layers share
    /// is kept once, with the opening layer.
    pub(crate) fn parts_kept(&self) -> Parts {
        let (own, buffer) = (self.layers(), self.network.buffer_layers());
        let start = if self.is_first() { 0 } else { own.start + buffer };
        let layers = start..own.end + if self.is_last() { 2 * buffer } else { buffer };
        let layers = if self.network.shares_parameters() { 0..0 } else { layers };
        Parts { layers, opening: self.is_first(), closing: self.is_last() }
    }

    /// What this rank needs of a checkpoint.
    pub(crate) fn parts_needed(&self) -> Parts {
        let kept = self.parts_kept();
        Parts { opening: kept.opening || self.network.shares_parameters(), ..kept }
    }

    /// Layers with parameters of their own, of the whole network.
    pub(crate) fn n_layers_kept(&self) -> usize {
        if self.network.shares_parameters() { 0 } else { self.n_layers() + 2 * self.network.buffer_layers() }
    }

    /// Layers of the whole network, as the solver counts.
    pub fn n_layers(&self) -> usize {
        self.partition.n_layers()
    }

    /// Where tensors live.
    pub fn device(&self) -> burn::tensor::Device {
        self.network.device()
    }

    /// Whether this rank has the opening layer and needs the inputs.
    pub fn is_first(&self) -> bool {
        self.comm.rank() == 0
    }

    /// Whether this rank has the closing layer and needs the targets.
    pub fn is_last(&self) -> bool {
        self.comm.rank() + 1 == self.comm.size()
    }

    /// The output of the network, shape `[batch, classes]`, on the last rank; no gradients.
    ///
    /// # Errors
    /// [`TrainError::NoInput`], [`TrainError::EmptyBatch`], or a failed solve.
    ///
    /// # Communication
    /// As [`braidnet_mgrit::Mgrit::solve`], and a broadcast before it of what the layers need of the batch, unless its size says it all.
    pub fn evaluate(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Option<Tensor<2>>, TrainError> {
        let batch = self.share(batch, input, Pass::Evaluation)?;
        let first = self.input(input)?.and_then(|input| self.working().open(input, &batch));
        evaluate(
            (Working::new(&self.network, self.low.as_ref()), &self.comm, &self.partition),
            &mut self.solvers,
            &batch,
            first,
        )
    }

    /// As [`LayerParallel::evaluate`], layer by layer: what the network is, not what the schedule makes of it.
    ///
    /// # Errors
    /// As [`LayerParallel::evaluate`].
    ///
    /// # Communication
    /// As [`LayerParallel::evaluate`], on one level.
    pub fn evaluate_exact(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Option<Tensor<2>>, TrainError> {
        let batch = self.share(batch, input, Pass::Evaluation)?;
        let first = self.input(input)?.and_then(|input| self.working().open(input, &batch));
        self.make_exact()?;
        let solvers = self.exact.as_mut().unwrap_or(&mut self.solvers);
        evaluate((Working::new(&self.network, self.low.as_ref()), &self.comm, &self.partition), solvers, &batch, first)
    }

    /// Solves for the states of a batch of `batch` samples, whose inputs the first rank must give, and linearises every
    /// layer there.
    ///
    /// # Errors
    /// As [`LayerParallel::evaluate`].
    ///
    /// # Communication
    /// As [`LayerParallel::evaluate`].
    pub fn forward(&mut self, batch: usize, input: Option<&N::Input>) -> Result<Forward<'_, N>, TrainError> {
        let (samples, (batch, opened)) = (batch, self.open(batch, input, self.noise)?);
        self.forward_from(samples, batch, opened)
    }

    /// Solves for the states of a batch, from the schedule's guess or the one given.
    fn forward_from(
        &mut self,
        samples: usize,
        batch: N::Batch,
        opened: Opened<N>,
    ) -> Result<Forward<'_, N>, TrainError> {
        if let Some(classes) = self.classes.as_ref().map(Vec::len).filter(|classes| *classes != samples) {
            return Err(TrainError::WrongClasses { classes, samples });
        }
        let guess = match (&self.given_guess, &self.classes, self.solvers.guesses[0]) {
            (Some(given), ..) => StateGuess::Given(given),
            (None, Some(classes), InitialGuess::ClassMeans) => StateGuess::Means(&mut self.means, classes),
            (None, _, InitialGuess::Carried) => StateGuess::Carried,
            (None, ..) => StateGuess::Zero,
        };
        let parts = (Working::new(&self.network, self.low.as_ref()), &self.comm, &self.partition);
        forward(parts, &mut self.solvers, guess, batch, opened, self.on_non_finite)
    }

    /// As [`LayerParallel::forward`], of a micro-batch.
    pub(crate) fn forward_of<T>(
        &mut self,
        micro: &Micro<N::Input, T>,
        task: &Task<T>,
    ) -> Result<Forward<'_, N>, TrainError> {
        self.share_classes(task, micro.target.as_ref())?;
        let (batch, opened) = self.open(micro.size, micro.input.as_ref(), self.noise_from(micro.first))?;
        self.forward_from(micro.size, batch, opened)
    }

    /// The noise of a micro-batch with `first` samples of the global batch before it.
    pub(crate) fn noise_from(&self, first: usize) -> Option<Noise> {
        self.noise.map(|noise| Noise { first_sample: noise.first_sample + first as u64, ..noise })
    }

    /// As `open`, without a message, on the first rank.
    pub(crate) fn open_alone<T>(&self, micro: &Micro<N::Input, T>) -> Result<(N::Batch, Opened<N>), TrainError> {
        let input = self.input(micro.input.as_ref())?.ok_or(TrainError::NoInput { rank: self.comm.rank() })?;
        let pass = Pass::Training(self.noise_from(micro.first));
        let batch = self.network.batch_of_size(micro.size, pass).unwrap_or_else(|| self.network.batch(input, pass));
        let network = self.working();
        let batch = network.layers.prepare(batch);
        let opened = network.open_recorded(input, &batch);
        Ok((batch, opened))
    }

    /// What the layers need of a batch, and on the first rank its first state.
    pub(crate) fn open(
        &self,
        samples: usize,
        input: Option<&N::Input>,
        noise: Option<Noise>,
    ) -> Result<(N::Batch, Opened<N>), TrainError> {
        let batch = self.share(samples, input, Pass::Training(noise))?;
        let opened = self.input(input)?.and_then(|input| self.working().open_recorded(input, &batch));
        Ok((batch, opened))
    }

    /// As [`LayerParallel::forward`], by the exact solvers.
    pub(crate) fn exact_forward(
        &mut self,
        batch: usize,
        input: Option<&N::Input>,
    ) -> Result<Forward<'_, N>, TrainError> {
        let (batch, opened) = self.open(batch, input, self.noise)?;
        self.make_exact()?;
        let solvers = self.exact.as_mut().unwrap_or(&mut self.solvers);
        let parts = (Working::new(&self.network, self.low.as_ref()), &self.comm, &self.partition);
        forward(parts, solvers, StateGuess::Zero, batch, opened, self.on_non_finite)
    }

    /// As `exact_forward`, of a micro-batch.
    pub(crate) fn exact_forward_of<T>(&mut self, micro: &Micro<N::Input, T>) -> Result<Forward<'_, N>, TrainError> {
        let (batch, opened) = self.open(micro.size, micro.input.as_ref(), self.noise_from(micro.first))?;
        self.make_exact()?;
        let solvers = self.exact.as_mut().unwrap_or(&mut self.solvers);
        let parts = (Working::new(&self.network, self.low.as_ref()), &self.comm, &self.partition);
        forward(parts, solvers, StateGuess::Zero, batch, opened, self.on_non_finite)
    }

    /// Frees the exact solvers, which hold states of their own.
    pub(crate) fn forget_exact(&mut self) {
        self.exact = None;
    }

    /// Whether the schedule's forward solve is the plain loop.
    pub(crate) fn has_exact_forward(&self) -> bool {
        let forward = &self.solvers.forward;
        forward.hierarchy().n_levels() == 1 && forward.options().method == Method::Multigrid
    }

    /// Makes the exact solvers, unless they exist.
    fn make_exact(&mut self) -> Result<(), TrainError> {
        if self.exact.is_none() {
            let options = [MgritOptions::sequential(), MgritOptions::sequential()];
            let solvers = Solvers::new(&self.grid, &self.partition, options, &self.comm)?;
            self.exact = Some(solvers.set_up(self.activations, self.on_non_finite));
        }
        Ok(())
    }
}

/// That a schedule has what the network needs, and the network what the schedule needs.
fn check<N: Network>(network: &N, schedule: &Schedule) -> Result<(), TrainError> {
    let is_newton = |solve: &SolveConfig| solve.method == Method::Newton;
    if schedule.forward.guess == InitialGuess::ClassMeans && !network.has_samples() {
        return Err(TrainError::NoSamples);
    }
    if (is_newton(&schedule.forward) || is_newton(&schedule.backward)) && !network.offers_diagonals() {
        return Err(TrainError::NoDiagonals);
    }
    let reason = match (schedule.micro_batching, schedule.activations) {
        _ if !network.reads_all_states() => return Ok(()),
        (MicroBatching::Pipelined, _) => "a pipeline does not keep them: let micro-batches go in turn",
        (_, Activations::Recompute) => "they are not all kept: store the activations",
        _ => return Ok(()),
    };
    Err(TrainError::ReadsAllStates { reason })
}

/// The first state and how to form the gradients of the opening layer, on the first rank.
pub(crate) type Opened<N> = Option<(<N as Network>::State, OpeningPullback<<N as Network>::State>)>;

fn evaluate<N: Network>(
    (network, comm, partition): (Working<'_, N>, &Communicator, &Partition),
    solvers: &mut Solvers<N::State>,
    batch: &N::Batch,
    first: Option<N::State>,
) -> Result<Option<Tensor<2>>, TrainError> {
    let zeros = network.zero_states(batch);
    let zero = |point| zeros.at(point).clone();
    let guess = if solvers.guesses[0] == InitialGuess::Carried { Guess::Carried } else { Guess::From(&zero) };
    solvers.forward.solve(&network.layers.block(batch), first, guess)?;
    let read = reading::read((network.layers, batch), (comm, partition), &solvers.forward)?;
    Ok(read.and_then(|u| network.close(u, batch)))
}
