//! The step of a pipeline, in the order in which a real one goes.

use braidnet_comm::Tag;
use braidnet_comm::simulate::spend;
use braidnet_mgrit::{Activations, State};

use super::Rank;
use crate::TrainError;
use crate::pipeline::{Turn, turns};
use crate::predict::ghost::Ghost;
use crate::predict::network::Ghosts;
use crate::predict::reducer::Part;

const FORWARD: Tag = 1000;
const BACKWARD: Tag = 1001;

impl Rank<'_> {
    /// One forward, one backward.
    pub fn pipelined(&mut self) -> Result<(), TrainError> {
        let micro = self.micro.clone();
        for turn in turns(self.layer.rank(), self.layer.size(), micro.len()) {
            match turn {
                Turn::Forward(at) => self.pipeline_forward(&self.network(micro[at]))?,
                Turn::Backward(at) => {
                    self.reducer.is_last = at + 1 == micro.len();
                    self.pipeline_backward(&self.network(micro[at]))?;
                }
            }
        }
        Ok(())
    }

    fn pipeline_forward(&mut self, network: &Ghosts<'_>) -> Result<(), TrainError> {
        let rank = self.layer.rank();
        self.prepare(network);
        if self.is_first() {
            spend(network.seconds(&self.job.costs.opening.work, 1));
        } else {
            self.layer.receive::<Ghost>(rank - 1, FORWARD)?.wait(&network.state(self.own.start))?;
        }
        let recomputes = self.job.setup.schedule.activations == Activations::Recompute;
        for layer in self.own.clone() {
            let costs = network.layer(layer);
            spend(network.seconds(if recomputes { &costs.forward } else { &costs.linearize }, 1));
        }
        // Whether it is finite.
        network.state(self.own.end).norm_squared();
        if self.is_last() {
            // Its gradients count when the micro-batch is on its way back.
            spend(network.seconds(&self.job.costs.closing.work, 1));
            return Ok(());
        }
        Ok(self.layer.send(rank + 1, FORWARD, network.state(self.own.end))?)
    }

    fn pipeline_backward(&mut self, network: &Ghosts<'_>) -> Result<(), TrainError> {
        let rank = self.layer.rank();
        if self.is_last() {
            self.reducer.push(Part::Closing)?;
        } else {
            self.layer.receive::<Ghost>(rank + 1, BACKWARD)?.wait(&network.state(self.own.end))?;
        }
        if self.job.setup.schedule.activations == Activations::Recompute {
            self.own.clone().for_each(|layer| spend(network.seconds(&network.layer(layer).linearize, 1)));
        }
        self.own.clone().rev().for_each(|layer| spend(network.seconds(&network.layer(layer).back, 1)));
        network.state(self.own.start).norm_squared();
        if !self.is_first() {
            self.layer.send(rank - 1, BACKWARD, network.state(self.own.start))?;
        }
        for layer in self.own.clone().rev() {
            spend(network.seconds(&network.layer(layer).gradients, 1));
            self.reducer.push(Part::Layer(layer))?;
        }
        self.complete(network)?;
        self.open_back(network)
    }
}
