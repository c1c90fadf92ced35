// Module: decodes the kernels of a PTX text.
#include <map>

#include "decoder.h"

namespace cudasim {

class Module::Impl {
 public:
  explicit Impl(std::string_view ptx) {
    const ModuleSyntax syntax = parse_ptx(ptx);
    for (const EntrySyntax& entry : syntax.entries) {
      std::string name(entry.name);
      if (kernels_.contains(name)) reject(entry.line, name + " is defined twice");
      kernels_[name] = Decoder(syntax, entry).run();
      names_.push_back(std::move(name));
    }
  }

  const Kernel* find(const std::string& name) const {
    const auto found = kernels_.find(name);
    return found == kernels_.end() ? nullptr : found->second.get();
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
  std::vector<std::string> names_;
};

Module::Module(std::string_view ptx) : impl_(std::make_unique<Impl>(ptx)) {}
Module::~Module() = default;
const Kernel* Module::find(const std::string& name) const { return impl_->find(name); }
const std::vector<std::string>& Module::kernel_names() const { return impl_->names(); }

const KernelInfo& info(const Kernel& kernel) { return kernel.info; }

}  // namespace cudasim
