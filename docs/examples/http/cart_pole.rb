# One episode of CartPole from Ruby: push to where the pole falls. Standard library only.
require "json"
require "net/http"

uri = URI(ARGV[0] || "http://127.0.0.1:5000")

Net::HTTP.start(uri.host, uri.port) do |http|
  post = lambda do |path, body = {}|
    reply = http.post("/v1/envs#{path}", JSON.generate(body), "Content-Type" => "application/json")
    content = reply.body.to_s.empty? ? nil : JSON.parse(reply.body)
    raise content["message"] unless reply.is_a?(Net::HTTPSuccess)
    content
  end

  id = post.call("/", env_id: "CartPole-v1", seed: 0)["instance_id"]
  observation = post.call("/#{id}/reset/")["observation"]
  total = 0.0
  loop do
    step = post.call("/#{id}/step/", action: observation[2] > 0 ? 1 : 0)
    observation = step["observation"]
    total += step["reward"]
    break if step["done"]
  end
  post.call("/#{id}/close/")
  puts "return #{total.to_i}"
end
