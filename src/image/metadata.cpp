#include "metadata.h"

#include <cstdlib>
#include <functional>

namespace ssl4rl::image {
namespace {

constexpr uint16_t kOrientation = 0x0112;
constexpr std::string_view kExifHeader("Exif\0\0", 6);

uint32_t big_endian(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

uint32_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// A JPEG's segments up to its data: marker and content.
void for_each_segment(std::string_view bytes, const std::function<void(uint8_t, std::string_view)>& visit) {
  for (size_t at = 2; at + 4 <= bytes.size();) {
    const auto marker = static_cast<uint8_t>(bytes[at + 1]);
    if (static_cast<uint8_t>(bytes[at]) != 0xFF || marker == 0xFF ||
        marker == 0) {  // fill bytes and rubbish, which libjpeg skips
      ++at;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) return;
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {  // without content
      at += 2;
      continue;
    }
    const size_t length = big_endian(bytes, at + 2, 2);
    if (length < 2 || at + 2 + length > bytes.size()) return;
    visit(marker, bytes.substr(at + 4, length - 2));
    at += 2 + length;
  }
}

// The content of the segment that begins the frame: precision, height, width, components.
std::string_view frame_of_jpeg(std::string_view bytes) {
  std::string_view frame;
  for_each_segment(bytes, [&](uint8_t marker, std::string_view content) {
    const bool is_frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (is_frame && content.size() >= 6 && frame.empty()) frame = content;
  });
  return frame;
}

struct Metadata {
  std::string_view exif, xmp;
};

Metadata metadata_of_jpeg(std::string_view bytes) {
  constexpr std::string_view kXmpHeader("http://ns.adobe.com/xap/1.0/\0", 29);
  Metadata found;
  for_each_segment(bytes, [&](uint8_t marker, std::string_view content) {
    if (marker != 0xE1) return;
    if (content.starts_with(kExifHeader) && found.exif.empty()) found.exif = content;
    if (content.starts_with(kXmpHeader)) found.xmp = content.substr(kXmpHeader.size());
  });
  return found;
}

Metadata metadata_of_png(std::string_view bytes) {
  constexpr std::string_view kXmpKey("XML:com.adobe.xmp\0\0", 19);  // key, its end, "not compressed"
  Metadata found;
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = big_endian(bytes, at, 4);
    if (length > bytes.size() - at - 12) break;
    const std::string_view type = bytes.substr(at + 4, 4), content = bytes.substr(at + 8, length);
    if (type == "eXIf") found.exif = content;
    if (type == "iTXt" && content.starts_with(kXmpKey)) found.xmp = content;
    at += 12 + length;
  }
  return found;
}

Metadata metadata_of_webp(std::string_view bytes) {
  Metadata found;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const size_t length = little_endian(bytes, at + 4, 4);
    if (length > bytes.size() - at - 8) break;
    const std::string_view type = bytes.substr(at, 4), content = bytes.substr(at + 8, length);
    if (type == "EXIF") found.exif = content;
    if (type == "XMP ") found.xmp = content;
    at += 8 + length + length % 2;
  }
  return found;
}

std::optional<uint32_t> xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kKey = "tiff:Orientation";
  for (size_t at = xmp.find(kKey); at != std::string_view::npos; at = xmp.find(kKey, at + 1)) {
    std::string_view rest = xmp.substr(at + kKey.size());
    if (rest.starts_with("=\""))
      rest.remove_prefix(2);
    else if (rest.starts_with(">"))
      rest.remove_prefix(1);
    else
      continue;
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return static_cast<uint32_t>(rest[0] - '0');
  }
  return {};
}

}  // namespace

Format format_of(std::string_view bytes) {
  if (bytes.starts_with("\xFF\xD8")) return Format::kJpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1A\n")) return Format::kPng;
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return Format::kWebp;
  if (bytes.starts_with(std::string_view("II*\0", 4)) || bytes.starts_with(std::string_view("MM\0*", 4)))
    return Format::kTiff;
  return Format::kOther;
}

std::optional<uint32_t> tiff_tag(std::string_view tiff, uint16_t tag) {
  if (tiff.size() < 8 || (!tiff.starts_with("II") && !tiff.starts_with("MM"))) return {};
  const auto number = [tiff, little = tiff[0] == 'I'](size_t at, size_t count) {
    return little ? little_endian(tiff, at, count) : big_endian(tiff, at, count);
  };
  const size_t directory = number(4, 4);
  if (directory > tiff.size() - 2 || tiff.size() < 2) return {};
  const size_t entries = number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * 12;
    if (entry + 12 > tiff.size()) return {};
    if (number(entry, 2) != tag) continue;
    const uint32_t type = number(entry + 2, 2), count = number(entry + 4, 4);
    const size_t size = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;
    if (size == 0 || count == 0) return {};
    const size_t at =
        size * count <= 4 ? entry + 8 : number(entry + 8, 4);  // where the values do not fit, they stand elsewhere
    if (at > tiff.size() || tiff.size() - at < size) return {};
    return number(at, size);
  }
  return {};
}

int orientation_of(std::string_view bytes) {
  Metadata found;
  switch (format_of(bytes)) {
    case Format::kJpeg:
      found = metadata_of_jpeg(bytes);
      break;
    case Format::kPng:
      found = metadata_of_png(bytes);
      break;
    case Format::kWebp:
      found = metadata_of_webp(bytes);
      break;
    case Format::kTiff:
      found.exif = bytes;
      break;
    case Format::kOther:
      return 1;
  }
  if (found.exif.starts_with(kExifHeader)) found.exif.remove_prefix(kExifHeader.size());
  auto orientation = tiff_tag(found.exif, kOrientation);
  if (!orientation) orientation = xmp_orientation(found.xmp);
  return orientation && *orientation >= 1 && *orientation <= 8 ? static_cast<int>(*orientation) : 1;
}

int jpeg_components(std::string_view bytes) {
  const std::string_view frame = frame_of_jpeg(bytes);
  return frame.empty() ? 0 : static_cast<uint8_t>(frame[5]);
}

std::optional<Dimensions> dimensions_of(std::string_view bytes) {
  switch (format_of(bytes)) {
    case Format::kJpeg: {
      const std::string_view frame = frame_of_jpeg(bytes);
      if (frame.empty()) return {};
      return Dimensions{big_endian(frame, 3, 2), big_endian(frame, 1, 2)};
    }
    case Format::kPng:
      if (bytes.size() < 24) return {};
      return Dimensions{big_endian(bytes, 16, 4), big_endian(bytes, 20, 4)};
    case Format::kWebp: {
      if (bytes.size() < 30) return {};
      const std::string_view kind = bytes.substr(12, 4);
      if (kind == "VP8X")
        return Dimensions{little_endian(bytes, 24, 3) + uint64_t{1}, little_endian(bytes, 27, 3) + uint64_t{1}};
      if (kind == "VP8 ")
        return Dimensions{little_endian(bytes, 26, 2) & 0x3FFFu, little_endian(bytes, 28, 2) & 0x3FFFu};
      const uint32_t bits = little_endian(bytes, 21, 4);
      return Dimensions{(bits & 0x3FFFu) + uint64_t{1}, (bits >> 14 & 0x3FFFu) + uint64_t{1}};
    }
    case Format::kTiff: {
      const auto width = tiff_tag(bytes, 256), height = tiff_tag(bytes, 257);
      if (!width || !height) return {};
      return Dimensions{*width, *height};
    }
    case Format::kOther:
      break;
  }
  if (bytes.starts_with("BM") && bytes.size() >= 26) {
    const auto absolute = [&](size_t at) {
      return static_cast<uint64_t>(std::abs(int64_t{static_cast<int32_t>(little_endian(bytes, at, 4))}));
    };
    return little_endian(bytes, 14, 4) == 12 ? Dimensions{little_endian(bytes, 18, 2), little_endian(bytes, 20, 2)}
                                             : Dimensions{absolute(18), absolute(22)};
  }
  return {};
}

}  // namespace ssl4rl::image
