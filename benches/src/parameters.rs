//! The parameters of a whole network, taken from the ranks it was trained on to any others.

use std::collections::HashMap;

use braidnet::prelude::*;

/// Parameters by name, in PyTorch's layouts.
pub struct Parameters(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Parameters {
    /// Those of the layers of all ranks of `world`, as far as they have any.
    ///
    /// # Errors
    /// A failed message.
    ///
    /// # Communication
    /// Collective: two all-gathers.
    pub fn gather<N: Network>(world: &Communicator, own: Option<&N>) -> Result<Self, TrainError> {
        let (mut names, mut values) = (String::new(), Vec::<f32>::new());
        if let Some(network) = own {
            network.visit_parameters(|p| {
                values.extend(p.to_torch_layout(p.values.clone()).to_data().iter::<f32>());
                let shape: Vec<String> = p.shape.iter().map(usize::to_string).collect();
                names += &format!("{} {}\n", p.name, shape.join(" "));
            });
        }
        let names = world.all_gather(names, &())?.concat();
        let values = world.all_gather(values, &())?.concat();
        let mut rest = values.into_iter();
        let parameter = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let shape: Vec<usize> = words.filter_map(|size| size.parse().ok()).collect();
            let values = rest.by_ref().take(shape.iter().product()).collect();
            (name, (shape, values))
        };
        Ok(Self(names.lines().map(parameter).collect()))
    }

    /// Puts them into `model`.
    ///
    /// # Errors
    /// A parameter that is missing here, or has another shape.
    pub fn load<N: Network>(&self, model: &mut LayerParallel<N>) -> Result<(), TrainError> {
        let network = model.network().clone().load(|name| self.0.get(name).cloned())?;
        model.update(|_| network);
        Ok(())
    }
}
