// Where and in which type a command computes, and loading of models.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

#include "ssl4rl/cli/app.h"
#include "ssl4rl/models/model.h"

namespace ssl4rl::cli {

struct Runtime {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

/// Chooses device and type from the texts of options or configuration, and sets the threads. Throws Error where the
/// device is not there.
[[nodiscard]] Runtime choose_runtime(App& app, const std::string& device, const std::string& dtype,
                                     std::optional<int64_t> threads);
/// By the common options alone.
[[nodiscard]] Runtime choose_runtime(App& app);

/// `loaded` is called with each parameter of the model, as it comes.
/// As options and configuration call it.
[[nodiscard]] const char* type_name(at::ScalarType type);

[[nodiscard]] std::unique_ptr<models::Model> load_model(App& app, const std::filesystem::path& folder,
                                                        std::shared_ptr<const models::Processor> processor,
                                                        const Runtime& runtime, const models::Loaded& loaded = {});
[[nodiscard]] std::unique_ptr<models::Model> load_model(App& app, const std::filesystem::path& folder,
                                                        const Runtime& runtime);

/// Names a model's weights: the same text means the same model.
[[nodiscard]] std::string model_fingerprint(const std::filesystem::path& folder);

/// Threads that prepare data while the tensors' threads compute: half of the cores unless given.
[[nodiscard]] int data_threads(std::optional<int64_t> given);

}  // namespace ssl4rl::cli
