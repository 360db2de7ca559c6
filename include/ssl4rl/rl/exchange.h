// What the ranks tell each other of a step's groups. Each rank draws, samples and scores its own; then all know the
// outcome of all, so that advantages, metrics and the curriculum are computed from the same numbers everywhere.
#pragma once

#include <vector>

#include "ssl4rl/rl/group.h"
#include "ssl4rl/train/communicator.h"

namespace ssl4rl::rl {

struct Step;  // trainer.h

/// Fills in the groups of other ranks, but for their prompts, which nobody else needs.
void exchange_outcomes(std::vector<Group>& groups, const train::Communicator& communicator);

/// Sums and largest values of what the ranks measured in a step, each on its own groups.
void add_up(Step& step, const train::Communicator& communicator);

}  // namespace ssl4rl::rl
