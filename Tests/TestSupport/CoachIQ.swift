import Synchronization

/// What CoachIQ says at the two endpoints that chock asks, as the answers of a ``FakeServer``.
public final class CoachIQ: Sendable {
  public struct State: Sendable {
    public var emergencyStop: Bool
    public var parkingBrake: Bool
    public var pendingOperations: [String]

    public init(
      emergencyStop: Bool = false, parkingBrake: Bool = true, pendingOperations: [String] = []
    ) {
      self.emergencyStop = emergencyStop
      self.parkingBrake = parkingBrake
      self.pendingOperations = pendingOperations
    }
  }

  private let state: Mutex<State>

  public init(_ state: State = State()) { self.state = Mutex(state) }

  public func change(to state: State) { self.state.withLock { $0 = state } }

  @Sendable
  public func answer(_ path: String, _ request: String) -> FakeServer.Answer {
    let state = state.withLock { $0 }
    switch path {
    case "/api/safety/status":
      return .text(
        """
        {"in_safe_state": false, "emergency_stop_active": \(state.emergencyStop),
         "watchdog_timeout": 15.0, "time_since_last_kick": 0.4, "operational_mode": "normal",
         "interlocks": {
           "slide_room_safety": {"engaged": false, "feature": "firefly", "conditions":
             ["vehicle_not_moving", "parking_brake_engaged"], "engagement_time": null,
             "engagement_reason": ""},
           "awning_safety": {"engaged": false, "feature": "firefly", "conditions": [],
             "engagement_time": null, "engagement_reason": ""}},
         "system_state": {"vehicle_speed": 0.0, "parking_brake": \(state.parkingBrake),
           "leveling_jacks_down": false, "engine_running": false, "transmission_gear": "PARK",
           "all_slides_retracted": true}}
        """, headers: ["Content-Type: application/json"])
    case "/api/v2/entities/safety-status":
      let operations = state.pendingOperations.map { "\"\($0)\"" }.joined(separator: ", ")
      return .text(
        """
        {"emergency_stop_active": \(state.emergencyStop),
         "pending_operations_count": \(state.pendingOperations.count),
         "pending_operations": [\(operations)]}
        """)
    default: return .text("{\"detail\": \"Not Found\"}", status: "404 Not Found")
    }
  }
}
