// The CUDA back end of a build without CUDA: no device is found, and whatever needs one says why.
#include "cuda.h"

namespace softmax_native::cuda {

class Environment {};

namespace {

Error not_built() { return {kAbsent, ""}; }

}  // namespace

std::string error_name(int) { return {}; }
std::string error_text(int) { return {}; }
std::string message_of(const Error&) {
  return "This build of softmax-native has no CUDA kernels: it was compiled without nvcc";
}

Info info() { return {false, 0, 0, "", {}, {}}; }
bool take_warning() { return false; }

Environment* begin_environment() { return new Environment; }
void end_environment(Environment&) {}
void delete_environment(Environment* environment) { delete environment; }

Error start(Environment&, int) { return not_built(); }
bool is_started(int) { return false; }
Error costs(Environment&, int, Costs*) { return not_built(); }

template <class T>
Error softmax(Environment&, int, const T*, T*, Layout, Control*) {
  return not_built();
}
template <class T>
Error row_max(Environment&, int, const T*, T*, int32_t*, Layout, Control*) {
  return not_built();
}
template <class T>
Error softmax_jacobian(Environment&, int, const T*, T*, int64_t, int64_t, Control*) {
  return not_built();
}

// No tensor is ever made, so none is found, and those that take one are never called.
Error allocate(Environment&, int, int64_t, Tensor**) { return not_built(); }
Error from_pointer(Environment&, int, uint64_t, int64_t, Tensor**) { return not_built(); }
Tensor* find_tensor(Environment&, const void*) { return nullptr; }
void free(Tensor&) {}
void drop(Tensor*) {}
Error upload(Tensor&, const void*, int64_t) { return not_built(); }
template <class T>
Error softmax(Tensor&, Tensor&, Layout) {
  return not_built();
}
template <class T>
Error row_max(Tensor&, Tensor&, Tensor*, Layout) {
  return not_built();
}
template <class T>
Error softmax_jacobian(Tensor&, Tensor&, int64_t, int64_t) {
  return not_built();
}
Error download(Tensor&, void*, int64_t) { return not_built(); }
Error begin(Environment&, int, Job*) { return not_built(); }
void finish(Job*) {}

Error allocate_page_locked(Environment&, int64_t, void**) { return not_built(); }
void free_page_locked(void*) {}

template Error softmax<float>(Environment&, int, const float*, float*, Layout, Control*);
template Error softmax<double>(Environment&, int, const double*, double*, Layout, Control*);
template Error row_max<float>(Environment&, int, const float*, float*, int32_t*, Layout, Control*);
template Error row_max<double>(Environment&, int, const double*, double*, int32_t*, Layout, Control*);
template Error softmax_jacobian<float>(Environment&, int, const float*, float*, int64_t, int64_t, Control*);
template Error softmax_jacobian<double>(Environment&, int, const double*, double*, int64_t, int64_t, Control*);
template Error softmax<float>(Tensor&, Tensor&, Layout);
template Error softmax<double>(Tensor&, Tensor&, Layout);
template Error row_max<float>(Tensor&, Tensor&, Tensor*, Layout);
template Error row_max<double>(Tensor&, Tensor&, Tensor*, Layout);
template Error softmax_jacobian<float>(Tensor&, Tensor&, int64_t, int64_t);
template Error softmax_jacobian<double>(Tensor&, Tensor&, int64_t, int64_t);

}  // namespace softmax_native::cuda
