//! Meshes of every shape that fits.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{
    Communicator, Degree, DevicePath, HostProbe, Mesh, MeshConfig, MeshError, MeshShape, ReduceOp, Traffic, under_mpi,
};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("meshes_of_every_shape", meshes_of_every_shape),
    ("mesh_axes_talk_apart", mesh_axes_talk_apart),
    ("bad_meshes_send_nothing", bad_meshes_send_nothing),
    ("nodes_hold_the_ranks_of_one_machine", nodes_hold_the_ranks_of_one_machine),
    ("a_mesh_of_one", a_mesh_of_one),
    ("all_axes_take_the_path_of_the_world", all_axes_take_the_path_of_the_world),
];

fn mesh(world: &Communicator, layer_ranks: Degree, data_ranks: Degree) -> Result<Mesh, MeshError> {
    Mesh::new(world, &MeshConfig { layer_ranks, data_ranks }, 8)
}

fn members(comm: &Communicator, world_rank: usize) -> Result<Vec<usize>, String> {
    comm.all_gather(world_rank, &()).map_err(text)
}

fn meshes_of_every_shape(world: &Communicator) -> Checked {
    let (rank, size) = (world.rank(), world.size());
    for layers in (1..=size).filter(|&n| size.is_multiple_of(n)) {
        let asked = [
            (Degree::Exactly(layers), Degree::Auto),
            (Degree::Auto, Degree::Exactly(size / layers)),
            (Degree::Exactly(layers), Degree::Exactly(size / layers)),
        ];
        for (layer_ranks, data_ranks) in asked {
            let mesh = mesh(world, layer_ranks, data_ranks).map_err(text)?;
            same("shape", mesh.shape(), MeshShape { layer_ranks: layers, data_ranks: size / layers })?;
            same("place", mesh.data_rank() * layers + mesh.layer_rank(), rank)?;
            let copy = rank / layers;
            same("layer axis", members(mesh.layer(), rank)?, (copy * layers..(copy + 1) * layers).collect())?;
            same("data axis", members(mesh.data(), rank)?, (rank % layers..size).step_by(layers).collect())?;
            same("world", members(mesh.world(), rank)?, (0..size).collect())?;
        }
    }
    Ok(())
}

/// All axes at once, under one tag.
fn mesh_axes_talk_apart(world: &Communicator) -> Checked {
    let layers = if world.size().is_multiple_of(2) { 2 } else { 1 };
    let mesh = mesh(world, Degree::Exactly(layers), Degree::Auto).map_err(text)?;
    let axes = [mesh.world(), mesh.layer(), mesh.data(), mesh.node()];
    let started = axes.map(|axis| axis.start_all_reduce(vec![world.rank() as u64], ReduceOp::Sum));
    for (axis, all) in axes.into_iter().zip(started).rev() {
        let expected = members(axis, world.rank())?.into_iter().sum::<usize>();
        same("sum", all.map_err(text)?.wait().map_err(text)?, vec![expected as u64])?;
    }
    Ok(())
}

fn bad_meshes_send_nothing(world: &Communicator) -> Checked {
    for layer_ranks in [Degree::Auto, Degree::Exactly(0), Degree::Exactly(world.size() + 1)] {
        let result = mesh(world, layer_ranks, Degree::Auto);
        same("refused", matches!(result, Err(MeshError::Invalid(problems)) if !problems.is_empty()), true)?;
    }
    same("nothing sent", world.traffic(), Traffic::default())
}

/// The tests run on one machine.
fn nodes_hold_the_ranks_of_one_machine(world: &Communicator) -> Checked {
    let mesh = mesh(world, Degree::Auto, Degree::Exactly(1)).map_err(text)?;
    same("node", members(mesh.node(), world.rank())?, (0..world.size()).collect())?;
    same("node rank", mesh.node_rank(), world.rank())?;
    same("no device", mesh.device_index(0), None)?;
    same("one device", mesh.device_index(1), Some(0))?;
    same("three devices", mesh.device_index(3), Some(world.rank() % 3))
}

fn a_mesh_of_one(_world: &Communicator) -> Checked {
    let mesh = Mesh::alone();
    same("shape", mesh.shape(), MeshShape { layer_ranks: 1, data_ranks: 1 })?;
    same("ranks", (mesh.layer_rank(), mesh.data_rank(), mesh.node_rank()), (0, 0, 0))?;
    let sizes = [mesh.world(), mesh.layer(), mesh.data(), mesh.node()].map(Communicator::size);
    same("sizes", sizes, [1; 4])?;
    mesh.clone().data().barrier().map_err(text)
}

fn all_axes_take_the_path_of_the_world(world: &Communicator) -> Checked {
    // Of its own ranks, so that the other tests' world stays undecided.
    let mesh = mesh(&world.duplicate().map_err(text)?, Degree::Auto, Degree::Exactly(1)).map_err(text)?;
    let path = mesh.probe_device_path(&mut HostProbe).map_err(text)?;
    let expected = if under_mpi() && world.size() > 1 { DevicePath::Direct } else { DevicePath::Handles };
    same("path", &path, &expected)?;
    let axes = [mesh.world(), mesh.layer(), mesh.data(), mesh.node()];
    axes.into_iter().try_for_each(|axis| same("path of an axis", axis.device_path(), Some(&expected)))
}
