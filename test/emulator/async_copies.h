// The asynchronous copies that device threads have started and not yet waited for.
#pragma once

namespace emulated {

// When a grid is ended before its threads have.
void forget_copies();

// At the end of the running device thread, which must have waited for all of its copies.
void require_no_copies();

}  // namespace emulated
